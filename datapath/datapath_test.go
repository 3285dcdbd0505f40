// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"foundry/integration/env"
)

// instance mounts a bpffs and opens a data plane in it.
func instance(t *testing.T) (*Datapath, string) {
	t.Helper()
	dir := mount(t)
	return open(t, dir), dir
}

// mount mounts a bpffs and returns the directory of an instance in it.
func mount(t *testing.T) string {
	t.Helper()
	env.RequireRoot(t)
	mount := t.TempDir()
	if err := unix.Mount("bpf", mount, "bpf", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(mount, 0); err != nil {
			t.Error(err)
		}
	})
	return filepath.Join(mount, "instance")
}

func open(t *testing.T, dir string) *Datapath {
	t.Helper()
	d, err := Open(Config{Dir: dir})
	if err != nil {
		t.Fatalf("%+v", err)
	}
	t.Cleanup(d.Close)
	return d
}

// pair makes a pair of devices and returns the number of one end.
func pair(t *testing.T, name string) int {
	t.Helper()
	if out, err := exec.Command("ip", "link", "add", name, "type", "veth", "peer", "name", name+"p").CombinedOutput(); err != nil {
		t.Fatalf("add %s: %v\n%s", name, err, out)
	}
	t.Cleanup(func() { exec.Command("ip", "link", "del", name).Run() })
	i, err := net.InterfaceByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return i.Index
}

// set calls Set and returns what it changed, one a line.
func set(t *testing.T, d *Datapath, s State) string {
	t.Helper()
	changes, err := d.Set(s)
	if err != nil {
		t.Fatal(err)
	}
	return lines(changes)
}

func lines(changes []Change) string {
	var s strings.Builder
	for _, c := range changes {
		fmt.Fprintln(&s, c)
	}
	return s.String()
}

// on puts the example on devices that there are.
func on(t *testing.T) State {
	s := example()
	s.Endpoints[0].Ifindex, s.Endpoints[1].Ifindex, s.Underlay.Ifindex = pair(t, "pa"), pair(t, "pb"), pair(t, "pu")
	s.Endpoints[1].XDP = false
	return s
}

func TestSet(t *testing.T) {
	d, dir := instance(t)
	s := on(t)
	a, b, u := s.Endpoints[0].Ifindex, s.Endpoints[1].Ifindex, s.Underlay.Ifindex
	want, err := d.Diff(s)
	if err != nil {
		t.Fatal(err)
	}
	got := set(t, d, s)
	if got != lines(want) || !strings.HasPrefix(got, "put cfg 0\nput vni 100\nput vtep 1\n") ||
		!strings.Contains(got, fmt.Sprintf("attach link tc_endpoint-%d\n", a)) || !strings.Contains(got, fmt.Sprintf("attach link tc_uplink-%d\n", u)) {
		t.Errorf("first: got\n%sDiff had said\n%s", got, lines(want))
	}
	if got := set(t, d, s); got != "" {
		t.Errorf("the same again: got changes\n%s", got)
	}
	slices.Reverse(s.Endpoints)
	if got := set(t, d, s); got != "" {
		t.Errorf("in another order: got changes\n%s", got)
	}
	s.Endpoints = s.Endpoints[1:] // without b
	got = set(t, d, s)
	for _, line := range []string{fmt.Sprintf("delete ep_by_ifindex %d", b), "delete fdb 100 02:00:00:00:00:0b",
		"delete neigh 100 10.0.0.2", "put bum 100", fmt.Sprintf("detach link tc_endpoint-%d", b)} {
		if !strings.Contains(got, line+"\n") {
			t.Errorf("without b: got\n%swant %q in it", got, line)
		}
	}
	set(t, d, State{})
	if got := set(t, d, State{}); got != "" {
		t.Errorf("nothing again: got changes\n%s", got)
	}
	other := filepath.Join(dir, "somebody's")
	if err := errors.Join(os.Mkdir(other, 0o700), Purge(dir), os.Remove(other)); err != nil {
		t.Errorf("purge beside what is not ours: %v", err)
	}
	if err := errors.Join(Purge(dir), Purge(dir)); err != nil {
		t.Errorf("purge what is not there: %v", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after a purge: %v", err)
	}
}

// Another process finds all as it was, exchanges the programs in place, and
// attaches anew where a device is gone and its number is not.
func TestAdopt(t *testing.T) {
	d, dir := instance(t)
	s := on(t)
	set(t, d, s)
	d.Close()
	d = open(t, dir)
	a, b, u := s.Endpoints[0].Ifindex, s.Endpoints[1].Ifindex, s.Underlay.Ifindex
	got := set(t, d, s)
	for _, want := range []string{fmt.Sprintf("update link tc_endpoint-%d", a), fmt.Sprintf("update link tc_endpoint-%d", b),
		fmt.Sprintf("update link tc_uplink-%d", u)} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("got\n%swant %q in it", got, want)
		}
	}
	if strings.Contains(got, "put") || strings.Contains(got, "delete") {
		t.Errorf("maps were written anew:\n%s", got)
	}
	for _, line := range []string{"link del pa", fmt.Sprintf("link add pa index %d type veth peer name pap", a)} {
		if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", line, err, out)
		}
	}
	if got, want := set(t, d, s), fmt.Sprintf("update link tc_endpoint-%d\n", a); got != want {
		t.Errorf("after its device was exchanged: got\n%swant\n%s", got, want)
	}
	if got := set(t, d, s); got != "" {
		t.Errorf("the same again: got changes\n%s", got)
	}
}

// A State that contradicts itself changes nothing.
func TestContradictionChangesNothing(t *testing.T) {
	d, _ := instance(t)
	s := on(t)
	s.Endpoints[1].MAC = macA
	if changes, err := d.Set(s); err == nil || len(changes) != 0 {
		t.Errorf("got %v, %v", changes, err)
	}
	if got := set(t, d, State{}); strings.Contains(got, "delete") {
		t.Errorf("something was there:\n%s", got)
	}
}
