// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"fmt"
	"os"
	"slices"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Each kind of namespace, made and joined by path, alone and with a user
// namespace around: init and exec are where the spec says.
func TestNamespacesByPath(t *testing.T) {
	w := newWorld(t)
	_, err := os.Stat("/proc/self/ns/time") // user-mode Linux has none
	hasTime := err == nil
	for _, users := range []bool{false, true} {
		first := w.spec(fmt.Sprint("first", users), "sleep", "60")
		first.Linux.Namespaces = append(first.Linux.Namespaces, specs.LinuxNamespace{Type: specs.CgroupNamespace})
		if hasTime {
			first.Linux.Namespaces = append(first.Linux.Namespaces, specs.LinuxNamespace{Type: specs.TimeNamespace})
		}
		if users {
			withUsers(first)
		}
		pause := w.create(fmt.Sprint("first", users), first)
		if err := pause.Start(ctx(t)); err != nil {
			t.Fatal(err)
		}
		for _, k := range namespaceKinds {
			if k.kind == specs.TimeNamespace && !hasTime || k.kind == specs.MountNamespace || k.kind == specs.UserNamespace && !users {
				continue // nobody shares mounts; a joined user namespace has its own test
			}
			t.Run(fmt.Sprint(k.kind, users), func(t *testing.T) { joinsOne(t, w, pause, k.kind) })
		}
	}
}

// joinsOne makes a container with one namespace of another, and of its user
// namespace when that has one.
func joinsOne(t *testing.T, w *world, pause *box, kind specs.LinuxNamespaceType) {
	id := fmt.Sprintf("%s-%s", pause.id, kind)
	spec := w.spec(id, "sleep", "60")
	spec.Linux.Namespaces = slices.Clone(pause.Spec().Linux.Namespaces)
	spec.Linux.UIDMappings, spec.Linux.GIDMappings = pause.Spec().Linux.UIDMappings, pause.Spec().Linux.GIDMappings
	shared := map[specs.LinuxNamespaceType]bool{kind: true, specs.UserNamespace: true}
	for i, ns := range spec.Linux.Namespaces {
		if shared[ns.Type] {
			spec.Linux.Namespaces[i].Path = namespaceOf(pause.Pid(), ns.Type)
		}
	}
	b := w.create(id, spec)
	if err := b.Start(ctx(t)); err != nil {
		t.Fatal(err)
	}
	for _, ns := range spec.Linux.Namespaces {
		theirs, ours := link(t, namespaceOf(pause.Pid(), ns.Type)), link(t, namespaceOf(b.Pid(), ns.Type))
		if (theirs == ours) != shared[ns.Type] {
			t.Errorf("%s: init is in %s, the other in %s", ns.Type, ours, theirs)
		}
		if _, got := b.exec("readlink", namespaceOf(0, ns.Type)); got != ours+"\n" {
			t.Errorf("%s: exec is in %q, init in %s", ns.Type, got, ours)
		}
	}
}

// namespaceOf is a namespace's file; pid 0 is the reader's own.
func namespaceOf(pid int, kind specs.LinuxNamespaceType) string {
	who := "self"
	if pid != 0 {
		who = fmt.Sprint(pid)
	}
	for _, k := range namespaceKinds {
		if k.kind == kind {
			return fmt.Sprintf("/proc/%s/ns/%s", who, k.file)
		}
	}
	return ""
}

func link(t *testing.T, file string) string {
	t.Helper()
	to, err := os.Readlink(file)
	if err != nil {
		t.Fatal(err)
	}
	return to
}
