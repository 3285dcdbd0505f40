// SPDX-License-Identifier: Apache-2.0

package spawn

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"foundry/runtime/plan"

	"golang.org/x/sys/unix"
)

// TestSourceOfPlainContainer: an idmapped bind, the container having no user
// namespace: files of 0 on the disk are those of 100000 inside.
func TestSourceOfPlainContainer(t *testing.T) {
	w := newWorld(t, 16)
	dir := t.TempDir()
	w.skipWithoutIdmap(dir)
	must(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o644))
	c := newContainer(t, "sh", "-c", "ls -ln /data/* /file | tr -s ' ' | cut -d' ' -f3,4,9; echo x >/data/new; echo x >/file")
	p := c.plan(t)
	insertBefore(p, plan.OpRoot,
		plan.Step{Op: plan.OpSource, FD: -1, A: 0, S: [4]string{idMap, dir, "", idMap}},
		plan.Step{Op: plan.OpSource, FD: -1, A: 511, S: [4]string{idMap, filepath.Join(dir, "file"), "", "0 7 1"}})
	insertBefore(p, plan.OpPivot,
		plan.Step{Op: plan.OpBind, FD: 0, Flags: plan.FlagSource, S: [4]string{2: "/data"}},
		plan.Step{Op: plan.OpBind, FD: 511, Flags: plan.FlagSource, A: unix.MOUNT_ATTR_RDONLY, S: [4]string{2: "/file"}})
	got, _ := w.output(p, nil)
	want := "100000 100000 /data/file\n100000 7 /file\n" +
		"sh: can't create /data/new: Value too large for defined data type\nsh: can't create /file: Read-only file system"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestSourceRecursive: with what is mounted below, idmapped or not. Without it
// the kernel gives nothing to other users: it may cover something.
func TestSourceRecursive(t *testing.T) {
	w := newWorld(t, 16)
	outer, inner := t.TempDir(), t.TempDir()
	w.skipWithoutIdmap(outer)
	must(t, os.WriteFile(filepath.Join(outer, "outer"), nil, 0o644))
	must(t, os.WriteFile(filepath.Join(inner, "inner"), nil, 0o644))
	below := filepath.Join(outer, "below")
	must(t, os.Mkdir(below, 0o755))
	for flags, want := range map[uint16]string{
		plan.FlagRec:                    "/data/below/inner 65534\n/data/outer 0",
		plan.FlagRec | plan.FlagAttrRec: "/data/below/inner 0\n/data/outer 0",
		plan.FlagAttrRec:                "",
	} {
		u := newUserns(t, "for f in /data/* /data/below/*; do test -f $f && echo $f $(ls -ln $f | tr -s ' ' | cut -d' ' -f3); done | busybox sort")
		u.host = []plan.Step{u.host[0],
			{Op: plan.OpMountHost, A: unix.MS_BIND, S: [4]string{"", inner, below}},
			{Op: plan.OpSource, A: 3, Flags: flags, S: [4]string{idMap, outer, "", idMap}}}
		if want == "" {
			if _, err := w.failing(u.plan()); err == nil || !strings.Contains(err.Error(), "(use rbind)") {
				t.Errorf("got %v", err)
			}
			continue
		}
		if got, e := w.output(u.plan(), nil); got != want {
			t.Errorf("flags %d: got %q (status %d), want %q", flags, got, e.Status, want)
		}
	}
}

// TestSourceOptional: a source that is not there, and its bind, are left out.
func TestSourceOptional(t *testing.T) {
	w := newWorld(t, 16)
	u := w.userns("echo /data/*")
	u.host[len(u.host)-1] = plan.Step{Op: plan.OpSource, A: 3, Flags: plan.FlagOptional, S: [4]string{1: "/nosuch"}}
	p := u.plan()
	if _, err := w.failing(p); err == nil || err.Error() != "bind /nosuch on /data: open source: no such file or directory" {
		t.Errorf("got %v, want that the source is missing", err)
	}
	for i := range p.Steps {
		if p.Steps[i].Op == plan.OpBind {
			p.Steps[i].Flags |= plan.FlagOptional
		}
	}
	if got, e := w.output(p, nil); got != "/data/*" {
		t.Errorf("got %q, status %d", got, e.Status)
	}
}

// TestUserNamespaceKernelFiles: what a namespace that a container owns lets it
// set and mount.
func TestUserNamespaceKernelFiles(t *testing.T) {
	w := newWorld(t, 16)
	u := w.userns("cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax; ls -d /sys/class/net/lo; ls /sys/fs/cgroup/all | grep -c cgroup.procs")
	p := u.plan()
	insertBefore(p, plan.OpPivot,
		plan.Step{Op: plan.OpSysctl, FD: -1, S: [4]string{"net/ipv4/ip_forward", "1"}},
		plan.Step{Op: plan.OpSysctl, FD: -1, S: [4]string{"kernel/msgmax", "4242"}},
		plan.Step{Op: plan.OpMount, FD: -1, S: [4]string{"sysfs", "sysfs", "/sys"}},
		plan.Step{Op: plan.OpMount, FD: -1, S: [4]string{"tmpfs", "tmpfs", "/sys/fs/cgroup"}},
		plan.Step{Op: plan.OpMkdir, FD: -1, A: 0o755, S: [4]string{2: "/sys/fs/cgroup/all"}},
		plan.Step{Op: plan.OpMount, FD: -1, S: [4]string{"cgroup2", "cgroup2", "/sys/fs/cgroup/all"}})
	got, e := w.output(p, nil)
	if want := "1\n4242\n/sys/class/net/lo\n1"; got != want {
		t.Errorf("got %q, status %d; want %q", got, e.Status, want)
	}
	if text, _ := os.ReadFile("/proc/sys/kernel/msgmax"); strings.TrimSpace(string(text)) == "4242" {
		t.Error("the host's limit was changed")
	}
}
