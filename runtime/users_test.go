// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"fmt"
	"os"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func TestHostUID(t *testing.T) {
	maps := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 1000}, {ContainerID: 1000, HostID: 5, Size: 1}}
	own := []specs.LinuxNamespace{{Type: specs.MountNamespace}, {Type: specs.UserNamespace}}
	self := []specs.LinuxNamespace{{Type: specs.UserNamespace, Path: fmt.Sprintf("/proc/%d/ns/user", os.Getpid())}}
	for _, tt := range []struct {
		name  string
		linux specs.Linux
		uid   uint32
		want  int
		ok    bool
	}{
		{"no namespace", specs.Linux{}, 7, 7, true},
		{"root", specs.Linux{Namespaces: own, UIDMappings: maps}, 0, 100000, true},
		{"last of a range", specs.Linux{Namespaces: own, UIDMappings: maps}, 999, 100999, true},
		{"second range", specs.Linux{Namespaces: own, UIDMappings: maps}, 1000, 5, true},
		{"nobody", specs.Linux{Namespaces: own, UIDMappings: maps}, 1001, 0, false},
		{"joined", specs.Linux{Namespaces: self}, 3, 3, true}, // ours has all users
		{"joined, pinned", specs.Linux{Namespaces: []specs.LinuxNamespace{{Type: specs.UserNamespace, Path: "/run/userns/a"}}}, 3, 0, false},
	} {
		got, ok := hostUID(&specs.Spec{Linux: &tt.linux}, tt.uid)
		if got != tt.want || ok != tt.ok {
			t.Errorf("%s: got %d, %v; want %d, %v", tt.name, got, ok, tt.want, tt.ok)
		}
	}
}

func TestWhoWritesItsCgroup(t *testing.T) {
	private := []specs.LinuxNamespace{{Type: specs.CgroupNamespace}}
	for _, tt := range []struct {
		namespaces []specs.LinuxNamespace
		dest       string
		options    []string
		want       bool
	}{
		{private, "/sys/fs/cgroup/", []string{"rw", "nosuid"}, true},
		{private, "/sys/fs/cgroup", []string{"ro"}, false},
		{private, "/cgroup", nil, false},
		{nil, "/sys/fs/cgroup", nil, false},
		{[]specs.LinuxNamespace{{Type: specs.CgroupNamespace, Path: "/proc/1/ns/cgroup"}}, "/sys/fs/cgroup", nil, false},
	} {
		spec := &specs.Spec{Process: &specs.Process{}, Linux: &specs.Linux{Namespaces: tt.namespaces},
			Mounts: []specs.Mount{{Type: "cgroup", Destination: tt.dest, Options: tt.options}}}
		if got := writesCgroup(spec); got != tt.want {
			t.Errorf("%v %s %q: got %v, want %v", tt.namespaces, tt.dest, tt.options, got, tt.want)
		}
	}
}
