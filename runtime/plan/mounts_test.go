// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"foundry/runtime/oci"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// testSpec has what a plan needs and nothing else.
func testSpec() *specs.Spec {
	return &specs.Spec{
		Version: "1.3.0",
		Root:    &specs.Root{Path: "rootfs"},
		Process: &specs.Process{Cwd: "/", Args: []string{"true"}},
		Linux:   &specs.Linux{Namespaces: []specs.LinuxNamespace{{Type: specs.MountNamespace}}},
	}
}

func testFacts() Facts {
	return Facts{ID: "c", Bundle: "/b", Rootfs: "/b/rootfs", LastCap: 40}
}

// lines returns the steps of these ops as text.
func lines(t *testing.T, spec *specs.Spec, f Facts, ops ...Op) []string {
	t.Helper()
	p, err := New(spec, f)
	if err != nil {
		t.Fatal(err)
	}
	checkEncodable(t, p)
	var out []string
	for i := range p.Steps {
		if slices.Contains(ops, p.Steps[i].Op) {
			out = append(out, p.Steps[i].String())
		}
	}
	return out
}

func check(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got\n\t%s\nwant\n\t%s", what, strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// TestBindOptions has the lines that runc's mountinfo agrees with, for a
// source that is mounted nosuid,nodev,noatime.
func TestBindOptions(t *testing.T) {
	for options, want := range map[string]string{
		"bind":                           "",
		"rbind":                          "rec",
		"bind,defaults,silent":           "",
		"rbind,rw,rprivate":              "rec clear=ro propagation=private,rec",
		"rbind,ro":                       "rec ro clear=nosuid,nodev,noexec,nodiratime,nosymfollow",
		"bind,nosuid,strictatime":        "nosuid strictatime clear=ro,nodev,noexec,nodiratime,nosymfollow",
		"bind,relatime":                  "relatime clear=ro,nosuid,nodev,noexec,nodiratime,nosymfollow",
		"bind,exec,dev":                  "clear=nodev,noexec",
		"bind,atime":                     "relatime",
		"bind,norelatime":                "",
		"bind,noatime,nostrictatime":     "noatime clear=ro,nosuid,nodev,noexec,nodiratime,nosymfollow",
		"bind,strictatime,nostrictatime": "relatime clear=ro,nosuid,nodev,noexec,nodiratime,nosymfollow",
		"bind,ro,rw":                     "clear=ro,nosuid,nodev,noexec,nodiratime,nosymfollow",
		"bind,rw,ro":                     "ro clear=nosuid,nodev,noexec,nodiratime,nosymfollow",
		"rbind,rro":                      "rec ro (recursively)",
		"rbind,ro,rro":                   "rec ro (recursively)",
		"bind,rro":                       "ro",
		"bind,nosuid,rro":                "ro,nosuid clear=nodev,noexec,nodiratime,nosymfollow",
		"rbind,rnoatime,rnodev":          "rec nodev noatime (recursively)",
		"rbind,rrw":                      "rec clear=ro (recursively)",
		"rbind,slave":                    "rec propagation=slave",
		"rbind,rslave":                   "rec propagation=slave,rec",
		"rbind,shared":                   "rec propagation=shared",
		"rbind,rshared":                  "rec propagation=shared,rec",
		"rbind,private":                  "rec propagation=private",
		"rbind,unbindable":               "rec propagation=unbindable",
		"rbind,runbindable":              "rec propagation=unbindable,rec",
		"bind,nosymfollow,nodiratime":    "nodiratime,nosymfollow clear=ro,nosuid,nodev,noexec",
		"bind,sync,lazytime":             "",
		"bind,size=1,loop,U,X-mount.x":   "",
	} {
		spec := testSpec()
		spec.Mounts = []specs.Mount{{Destination: "/d", Type: "ignored", Source: "/s", Options: strings.Split(options, ",")}}
		check(t, options, lines(t, spec, testFacts(), OpBind, OpMount), strings.TrimSpace("bind /s on /d "+want))
	}
}

func TestMountOptions(t *testing.T) {
	for options, want := range map[string]string{
		"":                            "",
		"size=1m,mode=755":            "data size=1m,mode=755",
		"ro":                          "ro data ro",
		"rro":                         "ro data ro",
		"ro,rw":                       "",
		"nosuid,noexec,nodev,noatime": "nosuid,nodev,noexec noatime",
		"strictatime,nodiratime":      "nodiratime strictatime",
		"sync,dirsync,lazytime,mand":  "data sync,dirsync,lazytime,mand",
		"sync,async,lazytime,nolazytime,mand,nomand": "",
		"shared":       "propagation=shared",
		"rsize=1,ropt": "data rsize=1,ropt", // an r before what is no attribute
	} {
		spec := testSpec()
		spec.Mounts = []specs.Mount{{Destination: "/d", Type: "fs", Source: "s", Options: strings.Split(options, ",")}}
		check(t, options, lines(t, spec, testFacts(), OpBind, OpMount), strings.TrimSpace("mount fs s on /d "+want))
	}
}

func TestMountTypes(t *testing.T) {
	spec := testSpec()
	spec.Mounts = []specs.Mount{
		{Destination: "relative/../x", Type: "tmpfs", Source: "tmpfs", Options: []string{"ro", `a=1,b=2\,3`}},
		{Destination: "/y", Type: "bind", Source: "in-bundle"},
		{Destination: "/z", Type: "rbind", Source: "/abs"},
		{Destination: "/o", Type: "overlay", Source: "overlay", Options: []string{"lowerdir=/1:/2"}},
	}
	check(t, "types", lines(t, spec, testFacts(), OpBind, OpMount),
		`mount tmpfs tmpfs on /x ro data a=1,b=2\,3`,
		"bind /b/in-bundle on /y",
		"bind /abs on /z rec",
		"mount overlay overlay on /o data lowerdir=/1:/2",
	)
}

func TestMountRefusals(t *testing.T) {
	for _, row := range []struct {
		mount specs.Mount
		want  string
	}{
		{specs.Mount{Destination: "/d", Options: []string{"remount", "size=1"}}, `mounts[0].options: "size=1" changes a file system, and /d is none that the container has mounted`},
		{specs.Mount{Destination: "/d", Type: "tmpfs", Options: []string{"a\x00b"}}, "mounts[0].options[0]: contains a NUL character"},
		{specs.Mount{Destination: "/d\x00", Type: "tmpfs"}, `mount tmpfs "" on "/d\x00": a string contains a NUL character`},
	} {
		spec := testSpec()
		spec.Mounts = []specs.Mount{row.mount}
		if _, err := New(spec, testFacts()); err == nil || err.Error() != row.want {
			t.Errorf("%v: got %v, want %s", row.mount, err, row.want)
		}
	}
}

func TestCgroupMount(t *testing.T) {
	facts := hybridFacts()
	facts.Cgroups = facts.Cgroups[:1]
	mount := specs.Mount{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"nosuid", "noexec", "nodev", "relatime", "ro"}}
	tmpfs := "mount tmpfs tmpfs on /sys/fs/cgroup nosuid,nodev,noexec data mode=755"
	links := []string{"symlink /sys/fs/cgroup/cpu -> cpu,cpuacct", "symlink /sys/fs/cgroup/cpuacct -> cpu,cpuacct"}

	spec := testSpec()
	spec.Mounts = []specs.Mount{mount}
	check(t, "the host's namespace", lines(t, spec, facts, OpMount, OpBind, OpSymlink)[:4], append([]string{
		tmpfs,
		"bind /sys/fs/cgroup/cpu,cpuacct/default/web on /sys/fs/cgroup/cpu,cpuacct rec ro,nosuid,nodev,noexec relatime clear=nodiratime,nosymfollow",
	}, links...)...)

	spec.Linux.Namespaces = append(spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.CgroupNamespace})
	check(t, "its own namespace", lines(t, spec, facts, OpMount, OpBind, OpSymlink)[:4], append([]string{
		tmpfs,
		"mount cgroup cgroup on /sys/fs/cgroup/cpu,cpuacct ro,nosuid,nodev,noexec data cpu,cpuacct",
	}, links...)...)

	facts.Unified = true
	check(t, "v2", lines(t, spec, facts, OpMount, OpBind),
		"mount cgroup2 cgroup on /sys/fs/cgroup ro,nosuid,nodev,noexec data ro")
}

func TestCgroupFactWithoutControllers(t *testing.T) {
	for name, want := range map[string]string{"cpu,cpuacct": "cpu cpuacct", "memory": "memory", "systemd": "name=systemd"} {
		if got := strings.Join(CgroupFact{Name: name}.options(), " "); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

func TestRootfsMounts(t *testing.T) {
	for _, row := range []struct {
		mounts []Mount
		want   []string
	}{
		{
			[]Mount{{Type: "bind", Source: "/s", Options: []string{"rbind", "ro", "X-containerd.mkfs=1"}}},
			[]string{"mount-host bind /s on /b/rootfs bind,rec,ro", "root /b/rootfs"},
		},
		{
			[]Mount{{Type: "ext4", Source: "/dev/x", Options: []string{"ro", "rw", "noatime", "data=journal", "rslave", ""}}},
			[]string{"mount-host ext4 /dev/x on /b/rootfs noatime data data=journal", `mount-host "" "" on /b/rootfs slave,rec`, "root /b/rootfs"},
		},
		{
			[]Mount{
				{Type: "overlay", Source: "overlay", Options: []string{"lowerdir=/1", "async", "exec"}},
				{Type: "bind", Source: "/etc", Target: "../etc", Options: []string{"bind", "ro"}},
				{Type: "tmpfs", Source: "t", Target: "/tmp", Options: []string{"size=1m", "X-containerd.x"}},
			},
			[]string{
				"mount-host overlay overlay on /b/rootfs data lowerdir=/1", "root /b/rootfs",
				"bind /etc on /etc ro clear=nosuid,nodev,noexec,nodiratime,nosymfollow", "mount tmpfs t on /tmp data size=1m",
			},
		},
	} {
		facts := testFacts()
		facts.RootfsMounts = row.mounts
		check(t, fmt.Sprint(row.mounts), lines(t, testSpec(), facts, OpMountHost, OpRoot, OpMount, OpBind), row.want...)
	}
}

func TestRootfsRefusals(t *testing.T) {
	for want, m := range map[string]Mount{
		`rootfs[0].type: "fuse3.sshfs" is not supported: it takes a program of the host to mount it`: {Type: "fuse3.sshfs"},
		`rootfs[0].type: "fuse.x" is not supported: it takes a program of the host to mount it`:      {Type: "fuse.x"},
		`rootfs[0].type: missing`:                              {},
		`rootfs[0].options[0]: "remount" is not supported yet`: {Type: "overlay", Options: []string{"remount"}},
	} {
		facts := testFacts()
		facts.RootfsMounts = []Mount{m}
		_, err := New(testSpec(), facts)
		if err == nil || err.Error() != want {
			t.Errorf("%v: got %v, want %s", m, err, want)
		}
		var unsupported *oci.UnsupportedError
		if m.Type != "" && !errors.As(err, &unsupported) {
			t.Errorf("%v: %T is no UnsupportedError", m, err)
		}
	}
}

func TestPropagation(t *testing.T) {
	for mode, want := range map[string][]string{
		"":           {"propagate slave,rec", "pivot"},
		"private":    {"propagate slave,rec", "propagate private", "pivot"},
		"rprivate":   {"propagate private,rec", "pivot"},
		"rslave":     {"propagate slave,rec", "pivot"},
		"shared":     {"propagate slave,rec", "pivot", "root-propagate shared"},
		"rshared":    {"propagate slave,rec", "pivot", "root-propagate shared,rec"},
		"unbindable": {"propagate slave,rec", "propagate unbindable", "pivot", "root-propagate unbindable"},
	} {
		spec := testSpec()
		spec.Linux.RootfsPropagation = mode
		check(t, mode, lines(t, spec, testFacts(), OpPropagate, OpPivot, OpRootPropagate), want...)
	}
}

// What the stage mounts for the root is not for the host to see. A volume that
// is to be its peer is copied before, and never for a user namespace.
func TestSharedVolume(t *testing.T) {
	for _, users := range []bool{false, true} {
		spec := testSpec()
		spec.Linux.RootfsPropagation = "rshared"
		if users {
			spec = usersSpec("user", "mount")
			spec.Linux.RootfsPropagation = "rshared"
		}
		spec.Mounts = []specs.Mount{
			{Destination: "/both", Source: "/volume", Type: "bind", Options: []string{"rbind", "rshared"}},
			{Destination: "/in", Source: "/volume", Type: "bind", Options: []string{"rbind", "rslave"}},
		}
		f := testFacts()
		f.RootfsMounts = []Mount{{Type: "overlay", Source: "overlay", Options: []string{"lowerdir=/a:/b"}}}
		var order []Op
		p, err := New(spec, f)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range p.Steps {
			if s.Op == OpSource || s.Op == OpPropagate || s.Op == OpMountHost {
				order = append(order, s.Op)
			}
		}
		want := []Op{OpSource, OpPropagate, OpMountHost}
		if users {
			want = []Op{OpPropagate, OpMountHost, OpSource, OpSource}
		}
		if !slices.Equal(order, want) {
			t.Errorf("users %v: got %v, want %v", users, order, want)
		}
	}
}
