// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"foundry/bpf"
)

// dump is all that is in the maps and all that is attached.
func dump(t *testing.T, d *Datapath) string {
	t.Helper()
	var all strings.Builder
	steps, _, err := d.diffLocked(State{})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(&all, lines(changes(steps)))
	s := d.schema
	entries(t, &all, s.vni.rows)
	entries(t, &all, s.vtep.rows)
	entries(t, &all, s.devs.rows)
	entries(t, &all, s.neigh.rows)
	entries(t, &all, s.fdb.rows)
	entries(t, &all, s.bum.rows)
	entries(t, &all, s.endpoints.rows)
	return all.String()
}

func entries[K, V comparable](t *testing.T, to *strings.Builder, r rows[K, V]) {
	t.Helper()
	have := map[K]V{}
	if err := r.each(func(k K, v V) { have[k] = v }); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(to, have) // in the order of the keys
}

// What a delta began before the kernel refused the rest does not stay.
func TestUpdateUndone(t *testing.T) {
	d, err := Open(Config{Dir: mount(t), MaxFDB: 16})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	s := on(t)
	set(t, d, s)
	before := dump(t, d)
	b := s.Endpoints[1]
	b.VNI = 7
	delta := Delta{Put: State{Networks: []Network{{VNI: 7}, {VNI: 100}}, Endpoints: []Endpoint{b, {Ifindex: 1 << 20, VNI: 100, MAC: MAC{2, 7}}},
		Remotes: []Remote{{VNI: 7, MAC: macR, Peer: vtepR}}}, DeleteRemotes: []RemoteKey{{100, macR}}}
	changes, err := d.Update(delta)
	if err == nil || !strings.Contains(err.Error(), "attach link: tc_endpoint-1048576: ") || len(changes) > 0 {
		t.Errorf("no such device: got %v, %v", changes, err)
	}
	if after := dump(t, d); after != before {
		t.Errorf("after it: got\n%swant\n%s", after, before)
	}
	if got := update(t, d, Delta{DeleteRemotes: []RemoteKey{{100, macR}}}); !strings.Contains(got, "delete fdb 100 "+macR.String()) {
		t.Errorf("an Update after it: got\n%s", got)
	}
	s.Remotes = nil
	if got := set(t, d, s); got != "" {
		t.Errorf("a Set after it: got\n%s", got)
	}
	if err := d.schema.vni.rows.(plain[uint32, bpf.VniEntry]).Freeze(); err != nil { // every write fails
		t.Fatal(err)
	}
	if _, err := d.Update(Delta{DeleteNetworks: []uint32{7}, Put: State{Networks: []Network{{VNI: 8}}}}); !errors.Is(err, ErrNotSet) {
		t.Errorf("what can be neither done nor undone: got %v", err)
	}
	if _, err := d.Update(Delta{}); !errors.Is(err, ErrNotSet) {
		t.Errorf("after it: got %v, want %v", err, ErrNotSet)
	}
}

// A full map is an error of the call, which names map, size and remedy.
func TestFull(t *testing.T) {
	d, err := Open(Config{Dir: mount(t), MaxFDB: 5})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	s := on(t) // three
	set(t, d, s)
	before := dump(t, d)
	remote := func(i int) Remote { return Remote{VNI: 100, MAC: MAC{2, 5, byte(i)}, Peer: vtepR} }
	three := Delta{Put: State{Remotes: []Remote{remote(1), remote(2), remote(3)}}}
	want := "map fdb is full: it has room for 5 entries, wanted are 6: raise Config.MaxFDB"
	if changes, err := d.Update(three); !errors.Is(err, ErrFull) || err.Error() != want || len(changes) > 0 {
		t.Errorf("Update: got %v, %v, want %s", changes, err, want)
	}
	if changes, err := d.Set(three.apply(s)); !errors.Is(err, ErrFull) || len(changes) > 0 {
		t.Errorf("Set: got %v, %v", changes, err)
	}
	if after := dump(t, d); after != before {
		t.Errorf("after it: got\n%swant\n%s", after, before)
	}
	// Somebody else's entries are not counted by an Update: the kernel says it.
	foreign := bpf.FdbKey{Vni: 5}
	if err := d.tc.Maps["fdb"].Put(&foreign, &bpf.FdbEntry{}); err != nil {
		t.Fatal(err)
	}
	before = dump(t, d)
	if _, err := d.Update(Delta{Put: State{Remotes: three.Put.Remotes[:2]}}); !errors.Is(err, ErrFull) {
		t.Errorf("foreign entry: got %v", err)
	}
	if after := dump(t, d); after != before {
		t.Errorf("after it: got\n%swant\n%s", after, before)
	}
	full := Delta{Put: State{Remotes: three.Put.Remotes[:2]}}.apply(s)
	if got := set(t, d, full); !strings.HasPrefix(got, "delete fdb 5 00:00:00:00:00:00\n") {
		t.Errorf("Set of as many as there is room for: got\n%s", got)
	}
	// One goes, one comes: there is no room for both, so it goes first.
	if got := update(t, d, Delta{Put: State{Remotes: three.Put.Remotes[2:]}, DeleteRemotes: []RemoteKey{{100, MAC{2, 5, 1}}}}); !strings.HasPrefix(got, "delete fdb") {
		t.Errorf("exchange in a full map: got\n%s", got)
	}
}
