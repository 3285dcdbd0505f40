// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"

	"foundry/bpf"
	"foundry/datapath/store"
	"foundry/datapath/veth"
)

// A successor takes over what is there, and removes what is no longer: with a
// reason, and an event.
func TestStartRepairs(t *testing.T) {
	s := newSite(t)
	c := s.start(t)
	addNetwork(t, c)
	a, b := endpoint(t, "a", "10.0.0.1/24"), endpoint(t, "b", "10.0.0.2/24")
	gotA, gotB := add(t, c, a), add(t, c, b)
	seen := c.Snapshot().Revision
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	run(t, "ip link del "+gotB.HostName)
	orphan := c.hostName("nobody")
	run(t, "ip link add "+orphan+" type veth peer name orphanp")
	breakMaps(t, s, gotA)

	c = s.start(t)
	clean(t, c)
	if got := c.ListEndpoints(); len(got) != 1 || fmt.Sprint(got[0]) != fmt.Sprint(gotA) {
		t.Errorf("endpoints: got %+v, want %+v", got, gotA)
	}
	if got := pairs(t, s); got != gotA.HostName {
		t.Errorf("pairs: got %s, want %s", got, gotA.HostName)
	}
	events, err := c.Watch(t.Context(), seen)
	if err != nil {
		t.Fatal(err)
	}
	if e := nextEvents(t, events, 1)[0]; !e.Deleted || e.Name != "b" || e.Reason != "its pair is gone" || e.Record.(EndpointRecord).Ifindex != gotB.Ifindex {
		t.Errorf("event: got %+v", e)
	}
	if status := c.Status(); status.Removed != 1 || status.Repaired != 0 {
		t.Errorf("status: got %+v", status)
	}
	add(t, c, b)
	if out, err := in(t, a.NetNS, "busybox ping -c 1 -W 5 10.0.0.2"); err != nil {
		t.Errorf("ping: %v\n%s", err, out)
	}
}

// breakMaps removes an entry and adds another, behind everybody's back.
func breakMaps(t *testing.T, s site, r EndpointRecord) {
	t.Helper()
	d, err := Open(Config{Dir: s.Dir})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	fdb := d.tc.Maps["fdb"]
	if err := errors.Join(fdb.Delete(&bpf.FdbKey{Vni: r.VNI, Mac: bpf.Mac{B: r.MAC}}),
		fdb.Put(&bpf.FdbKey{Vni: 9, Mac: bpf.Mac{B: macB}}, &bpf.FdbEntry{})); err != nil {
		t.Fatal(err)
	}
}

// What somebody else broke is put back, and counted.
func TestReconcile(t *testing.T) {
	s := newSite(t)
	c := s.start(t)
	addNetwork(t, c)
	a := add(t, c, endpoint(t, "a", "10.0.0.1/24"))
	fdb := c.data.tc.Maps["fdb"]
	takeLink(t, c, hook{"tc_endpoint", a.Ifindex})
	if err := errors.Join(fdb.Delete(&bpf.FdbKey{Vni: a.VNI, Mac: bpf.Mac{B: a.MAC}}),
		fdb.Put(&bpf.FdbKey{Vni: 9, Mac: bpf.Mac{B: macB}}, &bpf.FdbEntry{})); err != nil {
		t.Fatal(err)
	}
	run(t, "ip link set "+a.HostName+" down")
	want := []string{fmt.Sprintf("attach link tc_endpoint-%d", a.Ifindex), "delete fdb 9 02:00:00:00:00:0b", "put fdb 100 " + a.MAC.String(), "raise device " + a.HostName}
	for _, dryRun := range []bool{true, true, false} {
		changes, err := c.Reconcile(t.Context(), dryRun)
		got := strings.Split(strings.TrimSpace(lines(changes)), "\n")
		slices.Sort(got)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("dry run %v: got %v, %v, want %v", dryRun, got, err, want)
		}
	}
	clean(t, c)
	if got := c.Status().Repaired; got != 4 {
		t.Errorf("repaired: got %d, want 4", got)
	}
}

// An endpoint whose device was deleted from inside is broken at once, to be
// seen; its addresses are free for others, and the next reconciling removes it.
func TestBrokenEndpoint(t *testing.T) {
	s := newSite(t)
	c := s.start(t)
	addNetwork(t, c)
	a, b := endpoint(t, "a", "10.0.0.1/24"), endpoint(t, "b", "10.0.0.2/24")
	gotA := add(t, c, a)
	add(t, c, b)
	events, err := c.Watch(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := in(t, a.NetNS, "ip link del eth0"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	e := nextEvents(t, events, 1)[0]
	if got := e.Record.(EndpointRecord); e.Deleted || e.Name != "a" || got.Broken == "" || e.Reason != got.Broken {
		t.Errorf("event: got %+v", e)
	}
	if status := c.Status(); status.Broken != 1 || status.Lost != 1 || status.Endpoints != 2 {
		t.Errorf("status: got %+v", status)
	}
	if _, there := c.data.inForce.endpoints[gotA.Ifindex]; there {
		t.Error("it is still in the maps")
	}
	again := add(t, c, a)
	if again.Broken != "" || again.Ifindex == gotA.Ifindex || again.MAC != gotA.MAC {
		t.Errorf("added again: got %+v", again)
	}
	if got := nextEvents(t, events, 2); !got[0].Deleted || got[1].Deleted {
		t.Errorf("events: got %+v", got)
	}
	if err := veth.Delete(again.HostName); err != nil {
		t.Fatal(err)
	}
	nextEvents(t, events, 1)
	heir := endpoint(t, "heir", "10.0.0.1/24")
	add(t, c, heir)
	if e := nextEvents(t, events, 2)[0]; !e.Deleted || e.Name != "a" || !strings.Contains(e.Reason, "endpoint heir") {
		t.Errorf("event: got %+v", e)
	}
	if err := veth.Delete(c.hostName("b")); err != nil {
		t.Fatal(err)
	}
	nextEvents(t, events, 1)
	if changes, err := c.Reconcile(t.Context(), false); err != nil || lines(changes) != "delete endpoint b\n" {
		t.Errorf("reconcile: got %v, %v", changes, err)
	}
	if e := nextEvents(t, events, 1)[0]; !e.Deleted || e.Name != "b" || e.Reason == "" {
		t.Errorf("event: got %+v", e)
	}
	clean(t, c)
}

// A device that takes no program is the trouble of its endpoint alone.
func TestStartWithAForeignProgram(t *testing.T) {
	s := newSite(t)
	c := s.start(t)
	addNetwork(t, c)
	a, b := endpoint(t, "a", "10.0.0.1/24"), endpoint(t, "b", "10.0.0.2/24")
	a.Mode = ModeXDP
	gotA, gotB := add(t, c, a), add(t, c, b)
	takeLink(t, c, hook{"xdp_endpoint", gotA.Ifindex})
	takeLink(t, c, hook{"tc_endpoint", gotB.Ifindex})
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	foreign := xdpProgram(t, gotA.Ifindex)
	c = s.start(t)
	status, list := c.Status(), c.ListEndpoints()
	if status.Broken != 1 || len(list) != 2 || !strings.Contains(list[0].Broken, "another XDP program is attached") || list[1].Broken != "" {
		t.Fatalf("got %+v, %+v", status, list)
	}
	if _, there := c.data.inForce.endpoints[gotB.Ifindex]; !there {
		t.Error("b forwards nothing")
	}
	if err := foreign.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Reconcile(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if status := c.Status(); status.Broken != 0 || status.Lost+status.Removed != 0 {
		t.Errorf("healed: got %+v", status)
	}
	if out, err := in(t, b.NetNS, "busybox ping -c 1 -W 5 10.0.0.1"); err != nil {
		t.Errorf("ping: %v\n%s", err, out)
	}
	clean(t, c)
}

// takeLink takes a link away, as soon as it is there.
func takeLink(t *testing.T, c *Control, h hook) {
	t.Helper()
	eventually(t, h.String()+" has a link", func() bool {
		_, err := os.Stat(c.data.path(h))
		return err == nil
	})
	if err := os.Remove(c.data.path(h)); err != nil {
		t.Fatal(err)
	}
}

// xdpProgram attaches a program that passes everything.
func xdpProgram(t *testing.T, ifindex int) link.Link {
	t.Helper()
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, License: "GPL", AttachType: ebpf.AttachXDP,
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 2), asm.Return()}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	var l link.Link
	eventually(t, "the program that was there is gone", func() bool {
		l, err = attachXDP(p, ifindex)
		return err == nil
	})
	return l
}

// After a call that ended half way the next one begins with what is recorded.
func TestUpdateAfterAFailure(t *testing.T) {
	s := newSite(t)
	c := s.start(t)
	addNetwork(t, c)
	a, b := endpoint(t, "a", "10.0.0.1/24"), endpoint(t, "b", "10.0.0.2/24")
	add(t, c, a)
	c.data.inForce = nil
	add(t, c, b)
	c.data.inForce = nil
	if err := c.DeleteEndpoint(t.Context(), "a"); err != nil {
		t.Error(err)
	}
	clean(t, c)
}

// A store that cannot be read is the operator's to judge: frames go on, and
// without it all that it knew is cleared away.
func TestStartWithADamagedStore(t *testing.T) {
	s := newSite(t)
	c := s.start(t)
	addNetwork(t, c)
	a, b := endpoint(t, "a", "10.0.0.1/24"), endpoint(t, "b", "10.0.0.2/24")
	add(t, c, a)
	add(t, c, b)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(s.Store, 3*int64(os.Getpagesize())); err != nil {
		t.Fatal(err)
	}
	if _, err := StartControl(t.Context(), s.ControlConfig); !errors.Is(err, store.ErrCorrupt) || !strings.Contains(err.Error(), "move the file aside") {
		t.Errorf("got %v", err)
	}
	if out, err := in(t, a.NetNS, "busybox ping -c 1 -W 5 10.0.0.2"); err != nil {
		t.Errorf("frames stopped: %v\n%s", err, out)
	}
	if err := os.Rename(s.Store, s.Store+".aside"); err != nil {
		t.Fatal(err)
	}
	c = s.start(t)
	clean(t, c)
	if got := pairs(t, s); got != "" || pins(t, s) != 0 || len(c.ListEndpoints()) != 0 {
		t.Errorf("left: pairs %q, %d pins, %v", got, pins(t, s), c.ListEndpoints())
	}
}
