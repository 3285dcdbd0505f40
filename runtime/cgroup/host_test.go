// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCleanPath(t *testing.T) {
	for _, c := range []struct{ in, want, reason string }{
		{"/ns/web-1", "/ns/web-1", ""},
		{"/k8s.io/0123abcd", "/k8s.io/0123abcd", ""},
		{"ns/web-1", "/ns/web-1", ""},
		{"/ns//web-1/", "/ns/web-1", ""},
		{"/ns/./web-1", "/ns/web-1", ""},
		{"/kubepods/pod:1:2", "/kubepods/pod:1:2", ""},
		{"/", "", "root"},
		{"", "", "root"},
		{"/.", "", "root"},
		{"/ns/../../etc", "", `".."`},
		{"..", "", `".."`},
		{"/ns/..", "", `".."`},
		{"/ns/..web", "/ns/..web", ""},
		{"/ns/a\nb", "", "newline"},
		{"/ns/a\x00b", "", "NUL"},
	} {
		got, err := cleanPath(c.in)
		var bad *PathError
		switch {
		case c.reason == "" && (err != nil || got != c.want):
			t.Errorf("cleanPath(%q) = %q, %v, want %q", c.in, got, err, c.want)
		case c.reason != "" && (!errors.As(err, &bad) || !strings.Contains(err.Error(), c.reason)):
			t.Errorf("cleanPath(%q): %v, want %q", c.in, err, c.reason)
		}
	}
}

// The mounts of hosts as they are found, cut down to what matters.
func TestParseMounts(t *testing.T) {
	for _, c := range []struct{ name, mounts, want string }{
		{"v2", "25 19 0:23 / /sys rw shared:7 - sysfs sysfs rw\n30 25 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n",
			"unified /sys/fs/cgroup []"},
		{"hybrid of systemd", `25 18 0:22 / /sys/fs/cgroup ro shared:8 - tmpfs tmpfs ro,mode=755
26 25 0:23 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw,nsdelegate
27 25 0:24 / /sys/fs/cgroup/systemd rw shared:10 - cgroup cgroup rw,xattr,name=systemd
30 25 0:27 / /sys/fs/cgroup/cpu,cpuacct rw shared:15 - cgroup cgroup rw,cpu,cpuacct
31 25 0:28 / /sys/fs/cgroup/memory rw shared:16 - cgroup cgroup rw,memory
32 25 0:29 / /sys/fs/cgroup/net_cls,net_prio rw - cgroup cgroup rw,net_cls,net_prio
33 25 0:30 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset,clone_children
`, "hybrid /sys/fs/cgroup/unified; systemd [name=systemd]; cpu,cpuacct [cpu cpuacct]; memory [memory]; net_cls,net_prio [net_cls net_prio]; cpuset [cpuset]"},
		{"v1", "31 25 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n31 25 0:28 / /mnt/again rw - cgroup cgroup rw,memory\n", "memory [memory]"},
		{"in a container without a cgroup namespace", "31 25 0:28 /docker/1 /sys/fs/cgroup/pids ro master:3 - cgroup cgroup rw,pids\n", "pids [pids]"},
		{"mount point with a blank", "31 25 0:28 / /my\\040groups/pids rw - cgroup cgroup rw,pids\n", "pids [pids]"},
		{"nothing", "25 19 0:23 / /sys rw - sysfs sysfs rw\n", ""},
		{"garbage", "cgroup\n - \n1 2 3 - cgroup\n", ""},
	} {
		info := parseMounts(c.mounts)
		var parts []string
		if info.Hybrid != "" {
			parts = append(parts, "hybrid "+info.Hybrid)
		}
		for _, h := range info.Hierarchies {
			if info.Unified {
				parts = append(parts, fmt.Sprint("unified ", h.Mountpoint, " ", h.Controllers))
			} else {
				parts = append(parts, fmt.Sprint(h.Name, " ", h.Controllers))
			}
		}
		if got := strings.Join(parts, "; "); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestAncestors(t *testing.T) {
	if got := fmt.Sprintf("%q", ancestors("/a/b/c")); got != `["" "/a" "/a/b"]` {
		t.Errorf("ancestors = %s", got)
	}
}

func TestCreateRefusesPaths(t *testing.T) {
	for _, p := range []string{"/", "../x", "a.slice:b:", "a:b:c"} {
		var bad *PathError
		if _, err := Create(Config{Path: p}); !errors.As(err, &bad) {
			t.Errorf("Create(%q): %v", p, err)
		}
		if _, err := Open(Info{}, p); !errors.As(err, &bad) {
			t.Errorf("Open(%q): %v", p, err)
		}
	}
}

// Processes of our own enter a group that may have others in it already.
func TestLeave(t *testing.T) {
	info := hostInfo(t)
	p := groupPath(t, info)
	g, err := Open(info, p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(g.Kill(within(t, 10e9)), g.Remove()); err != nil {
			t.Error(err)
		}
	})
	first := create(t, info, filepath.Dir(p)+"/"+t.Name()+"_first", nil)
	for n := range 2 {
		pid := run(t, first, "echo ready; exec sleep 1000").Process.Pid
		if err := Leave(Config{Info: info, Path: p}, pid); err != nil {
			t.Fatal(err)
		}
		if got := pidsOf(t, g); len(got) != n+1 {
			t.Errorf("Pids = %v after %d", got, n+1)
		}
		if got := pidsOf(t, first); len(got) != 0 {
			t.Errorf("%v are left where they came from", got)
		}
	}
	if err := Leave(Config{Info: info, Path: p}, 1<<30); err == nil {
		t.Error("Leave of a process that does not exist: no error")
	}
	own, err := Own(Config{Info: info, Path: p, Resources: memoryLimit(256 << 20)})
	if err != nil {
		t.Fatal(err)
	}
	if got := limitsOf(own); got["memory.limit_in_bytes"]+got["memory.max"] != "268435456" {
		t.Errorf("limits = %v", got)
	}
	if text, err := os.ReadFile("/proc/self/cgroup"); err != nil || strings.Contains(string(text), p) {
		t.Errorf("the test itself was moved: %v\n%s", err, text)
	}
}
