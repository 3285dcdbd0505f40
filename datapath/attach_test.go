// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"foundry/datapath/veth"
)

func openConfig(t *testing.T, c Config) *Datapath {
	t.Helper()
	d, err := Open(c)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	t.Cleanup(d.Close)
	return d
}

// filterOn is the program in our place of a device, 0 for none.
func filterOn(t *testing.T, ifindex int) int {
	t.Helper()
	id, err := place(ifindex).Program()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// anew makes another device of the same number.
func anew(t *testing.T, name string, ifindex int) {
	t.Helper()
	for _, line := range []string{"link del " + name, fmt.Sprintf("link add %s index %d type veth peer name %sp", name, ifindex, name)} {
		if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", line, err, out)
		}
	}
}

func ifindexOf(t *testing.T, name string) int {
	t.Helper()
	i, err := net.InterfaceByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return i.Index
}

func linkFiles(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, linksDir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// The life of a filter is that of a link: found again, exchanged in place,
// attached anew on another device of the number, detached, and purged.
func TestFilterLife(t *testing.T) {
	d, dir := instance(t)
	d.Close()
	c := Config{Dir: dir, Clsact: true}
	d = openConfig(t, c)
	s := on(t)
	a, b, u := s.Endpoints[0].Ifindex, s.Endpoints[1].Ifindex, s.Underlay.Ifindex
	if got, want := set(t, d, s), fmt.Sprintf("attach link tc_endpoint-%d\n", a); !strings.Contains(got, want) {
		t.Errorf("first: got\n%swant %q in it", got, want)
	}
	first := filterOn(t, a)
	if first == 0 || filterOn(t, b) == 0 || filterOn(t, u) == 0 {
		t.Error("a device has no filter")
	}
	if got := set(t, d, s); got != "" {
		t.Errorf("the same again: got changes\n%s", got)
	}
	d.Close()
	d = openConfig(t, c)
	if got, want := set(t, d, s), fmt.Sprintf("update link tc_endpoint-%d\n", a); !strings.Contains(got, want) || strings.Contains(got, "attach") {
		t.Errorf("another process: got\n%swant %q in it", got, want)
	}
	if got := filterOn(t, a); got == 0 || got == first {
		t.Errorf("program after the update: got %d, want another than %d", got, first)
	}
	if files := linkFiles(t, dir); len(files) != 3 {
		t.Errorf("records: got %v, want one for each of 3 devices", files)
	}
	anew(t, "pa", a)
	if got, want := set(t, d, s), fmt.Sprintf("attach link tc_endpoint-%d\n", a); got != want {
		t.Errorf("after its device was exchanged: got\n%swant\n%s", got, want)
	}
	without := s
	without.Endpoints = s.Endpoints[:1]
	if got, want := set(t, d, without), fmt.Sprintf("detach link tc_endpoint-%d-clsact-", b); !strings.Contains(got, want) {
		t.Errorf("without b: got\n%swant %q in it", got, want)
	}
	if got := filterOn(t, b); got != 0 {
		t.Errorf("without b: program %d is on its device", got)
	}
	if err := errors.Join(Purge(dir), Purge(dir)); err != nil {
		t.Error(err)
	}
	if got := filterOn(t, a) + filterOn(t, u); got != 0 {
		t.Errorf("after purge: program %d", got)
	}
}

// Whatever a process left half done, the next one finishes.
func TestFilterInterrupted(t *testing.T) {
	d, dir := instance(t)
	d.Close()
	d = openConfig(t, Config{Dir: dir, Clsact: true})
	s := on(t)
	s.Underlay, s.Peers, s.Remotes = Underlay{}, nil, nil
	s.Endpoints = s.Endpoints[:1]
	set(t, d, s)
	h := hook{"tc_endpoint", s.Endpoints[0].Ifindex}
	old := d.path(h) + recordMark + fmt.Sprint(filterOn(t, h.ifindex))
	d.lock.Close() // as if its process were gone
	next := openConfig(t, Config{Dir: dir, Clsact: true})
	id, err := programID(next.program(h))
	if err != nil {
		t.Fatal(err)
	}
	own := next.path(h) + recordMark + fmt.Sprint(id)
	for _, c := range []struct {
		what string
		do   func() error
	}{
		{"after the record", func() error { return pinCopy(next.program(h), own) }},
		{"after the filter", func() error {
			return errors.Join(pinCopy(d.program(h), old), place(h.ifindex).Attach(next.program(h).FD()))
		}},
	} {
		if err := c.do(); err != nil {
			t.Fatal(err)
		}
		if got, want := set(t, next, s), "update link "+h.String()+"\n"; got != want {
			t.Errorf("%s: got\n%swant\n%s", c.what, got, want)
		}
		if got := set(t, next, s); got != "" || filterOn(t, h.ifindex) != int(id) {
			t.Errorf("%s: got\n%s, program %d, want %d", c.what, got, filterOn(t, h.ifindex), id)
		}
	}
	// A detach that was not finished: the filter is gone, its record is not.
	if err := place(h.ifindex).Detach(); err != nil {
		t.Fatal(err)
	}
	set(t, next, State{})
	if files := linkFiles(t, dir); len(files) != 0 {
		t.Errorf("left: %v", files)
	}
}

// What somebody else has in our place stays, and is named.
func TestFilterOfSomebodyElse(t *testing.T) {
	d, dir := instance(t)
	d.Close()
	d = openConfig(t, Config{Dir: dir, Clsact: true})
	s := on(t)
	p := place(s.Endpoints[0].Ifindex)
	other := openConfig(t, Config{Dir: dir + "-other"})
	if err := errors.Join(veth.Clsact(p.Ifindex), p.Attach(other.tc.Programs["tc_endpoint"].FD())); err != nil {
		t.Fatal(err)
	}
	theirs := filterOn(t, p.Ifindex)
	if _, err := d.Set(s); !errors.Is(err, ErrConflict) || !strings.Contains(fmt.Sprint(err), fmt.Sprint(theirs)) {
		t.Errorf("got %v, want a conflict that names program %d", err, theirs)
	}
	if err := Purge(dir); err != nil {
		t.Error(err)
	}
	if got := filterOn(t, p.Ifindex); got != theirs {
		t.Errorf("after purge: got program %d, want %d", got, theirs)
	}
	if err := errors.Join(p.Detach(), p.Detach(), Purge(dir+"-other")); err != nil {
		t.Error(err)
	}
}

// From the one way to the other and back, as when the kernel is exchanged or
// the setting: never without a program, and in the end with one.
func TestFilterToLinkAndBack(t *testing.T) {
	d, dir := instance(t)
	s := on(t)
	set(t, d, s)
	for _, clsact := range []bool{true, false, true} {
		d.Close()
		d = openConfig(t, Config{Dir: dir, Clsact: clsact})
		got := set(t, d, s)
		if attached, detached := strings.Index(got, "attach link"), strings.Index(got, "detach link"); attached < 0 || detached < attached {
			t.Errorf("clsact %v: got\n%swant links attached, then others detached", clsact, got)
		}
		if got := set(t, d, s); got != "" {
			t.Errorf("clsact %v: the same again: got changes\n%s", clsact, got)
		}
		for _, file := range linkFiles(t, dir) {
			if strings.Contains(file, recordMark) != clsact {
				t.Errorf("clsact %v: left %s", clsact, filepath.Base(file))
			}
		}
		if has := filterOn(t, s.Underlay.Ifindex) != 0; has != clsact {
			t.Errorf("clsact %v: uplink has a filter: %v", clsact, has)
		}
	}
}

// Generic XDP is never taken instead: the device that has no other is told
// from one that refuses.
func TestNativeXDPOnly(t *testing.T) {
	d, _ := instance(t)
	if out, err := exec.Command("ip", "link", "add", "gen0", "type", "ifb").CombinedOutput(); err != nil {
		t.Skipf("no device without native XDP: add ifb: %v %s", err, out)
	}
	t.Cleanup(func() { exec.Command("ip", "link", "del", "gen0").Run() })
	s := on(t)
	s.Underlay.Ifindex, s.Underlay.XDP = ifindexOf(t, "gen0"), true
	if _, err := d.Set(s); !errors.Is(err, ErrNoNativeXDP) {
		t.Errorf("got %v, want %v", err, ErrNoNativeXDP)
	}
	if out, err := exec.Command("ip", strings.Fields("link add narrow numrxqueues 1 numtxqueues 2 type veth peer name narrowp numtxqueues 2")...).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	t.Cleanup(func() { exec.Command("ip", "link", "del", "narrow").Run() })
	s.Underlay.Ifindex = ifindexOf(t, "narrow")
	if _, err := d.Set(s); err == nil || errors.Is(err, ErrNoNativeXDP) || !strings.Contains(err.Error(), "too few receive queues") {
		t.Errorf("fewer queues than its peer sends on: got %v, want that as the reason", err)
	}
}
