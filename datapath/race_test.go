// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"
)

// Whoever calls what at once: each call sees the State before or after another,
// and in the end there is what was wanted last.
func TestAtOnce(t *testing.T) {
	d, _ := instance(t)
	s := on(t)
	set(t, d, s)
	rounds := 30
	if testing.Short() {
		rounds = 8
	}
	var all sync.WaitGroup
	for worker := range 4 {
		all.Go(func() {
			for i := range rounds {
				remote := Remote{VNI: 100, MAC: MAC{2, 0, 0, 9, byte(worker), byte(i)}, Peer: vtepR,
					Addrs: []netip.Addr{netip.AddrFrom4([4]byte{10, 9, byte(worker), byte(i)})}}
				if _, err := d.Update(Delta{Put: State{Remotes: []Remote{remote}}}); err != nil {
					t.Error(err)
				}
				// An address that all of them want: one has it, or nobody.
				wanted := Delta{Put: State{Remotes: []Remote{{VNI: 100, MAC: MAC{2, 0, 0, 8, byte(worker)}, Peer: vtepR, Addrs: []netip.Addr{ip6A.Next()}}}}}
				if _, err := d.Update(wanted); err != nil && !errors.Is(err, ErrConflict) {
					t.Error(err)
				}
				if _, err := d.Update(Delta{DeleteRemotes: []RemoteKey{{100, remote.MAC}, {100, wanted.Put.Remotes[0].MAC}}}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Go(func() {
		for range rounds {
			if _, err := d.Diff(s); err != nil {
				t.Error(err)
			}
			if _, err := d.Counters(); err != nil {
				t.Error(err)
			}
		}
	})
	all.Go(func() {
		for range rounds / 4 {
			if _, err := d.Set(s); err != nil {
				t.Error(err)
			}
		}
	})
	all.Wait()
	if got := set(t, d, s); got != "" {
		t.Errorf("afterwards: got\n%s", got)
	}
}

// What somebody has changed behind our back is what a Set of what is in force
// returns: that is what it had to repair.
func TestRepairs(t *testing.T) {
	d, _ := instance(t)
	s := on(t)
	set(t, d, s)
	maps := d.tc.Maps
	for range 20 {
		var broken []string
		for name, breakIt := range map[string]func() error{
			"vni":           func() error { return maps["vni"].Delete(uint32(100)) },
			"fdb":           func() error { k := fdbKey(100, macA); return maps["fdb"].Delete(&k) },
			"neigh":         func() error { k := neighKey(100, ipB); return maps["neigh"].Delete(&k) },
			"bum":           func() error { return maps["bum"].Delete(uint32(100)) },
			"ep_by_ifindex": func() error { return maps["ep_by_ifindex"].Delete(uint32(s.Endpoints[0].Ifindex)) },
			"link":          func() error { return detachAt(d.path(s.Endpoints[1].hooks()[0])) },
		} {
			if rand.N(2) == 0 {
				continue
			}
			broken = append(broken, name)
			if err := breakIt(); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		want, err := d.Diff(s)
		if err != nil {
			t.Fatal(err)
		}
		changes, err := d.Set(s)
		if err != nil || !slices.Equal(changes, want) {
			t.Fatalf("broken %v: got %v, %v; Diff had said %v", broken, changes, err, want)
		}
		var repaired []string
		for _, c := range changes {
			repaired = append(repaired, c.Object)
		}
		slices.Sort(broken)
		slices.Sort(repaired)
		if !slices.Equal(repaired, broken) {
			t.Errorf("got repairs of %v, want of %v", repaired, broken)
		}
	}
}
