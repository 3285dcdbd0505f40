// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// apply returns s as it is after the delta: what Update has to come to.
func (delta Delta) apply(s State) State {
	if delta.HasUnderlay {
		s.Underlay = delta.Put.Underlay
	}
	s.Networks = replaced(s.Networks, delta.Put.Networks, delta.DeleteNetworks, func(n Network) uint32 { return n.VNI })
	s.Endpoints = replaced(s.Endpoints, delta.Put.Endpoints, delta.DeleteEndpoints, func(e Endpoint) int { return e.Ifindex })
	s.Peers = replaced(s.Peers, delta.Put.Peers, delta.DeletePeers, func(p Peer) netip.Addr { return p.IP })
	s.Remotes = replaced(s.Remotes, delta.Put.Remotes, delta.DeleteRemotes, func(r Remote) RemoteKey { return RemoteKey{r.VNI, r.MAC} })
	return s
}

func replaced[T any, K comparable](have, put []T, gone []K, key func(T) K) []T {
	drop := map[K]bool{}
	for _, k := range gone {
		drop[k] = true
	}
	for _, v := range put {
		drop[key(v)] = true
	}
	kept := slices.DeleteFunc(slices.Clone(have), func(v T) bool { return drop[key(v)] })
	return append(kept, put...)
}

func update(t *testing.T, d *Datapath, delta Delta) string {
	t.Helper()
	changes, err := d.Update(delta)
	if err != nil {
		t.Fatal(err)
	}
	return lines(changes)
}

func TestUpdateNeedsSet(t *testing.T) {
	d, _ := instance(t)
	if _, err := d.Update(Delta{}); !errors.Is(err, ErrNotSet) {
		t.Errorf("got %v, want %v", err, ErrNotSet)
	}
}

// An Update writes what its delta asks for, in the order of a Set, and nothing else.
func TestUpdate(t *testing.T) {
	d, _ := instance(t)
	s := on(t)
	set(t, d, s)
	c := Endpoint{Ifindex: pair(t, "pc"), VNI: 100, MAC: MAC{2, 0, 0, 0, 0, 0xc}, Addrs: []netip.Addr{netip.MustParseAddr("10.0.0.3")}}
	want := fmt.Sprintf(`put neigh 100 10.0.0.3
put neigh 100 fe80::ff:fe00:c
put fdb 100 02:00:00:00:00:0c
put bum 100
put ep_by_ifindex %[1]d
attach link tc_endpoint-%[1]d
`, c.Ifindex)
	if got := update(t, d, Delta{Put: State{Endpoints: []Endpoint{c}}}); got != want {
		t.Errorf("add: got\n%swant\n%s", got, want)
	}
	if got := update(t, d, Delta{Put: State{Endpoints: []Endpoint{c}}}); got != "" {
		t.Errorf("the same again: got\n%s", got)
	}
	want = fmt.Sprintf(`put bum 100
delete ep_by_ifindex %[1]d
delete fdb 100 02:00:00:00:00:0c
delete neigh 100 10.0.0.3
delete neigh 100 fe80::ff:fe00:c
detach link tc_endpoint-%[1]d
delete stats_ep %[1]d
`, c.Ifindex)
	// It may have had a filter still (early.go).
	got := regexp.MustCompile(recordMark+`\d+`).ReplaceAllString(update(t, d, Delta{DeleteEndpoints: []int{c.Ifindex}}), "")
	if got != want {
		t.Errorf("delete: got\n%swant\n%s", got, want)
	}
	if got := update(t, d, Delta{DeleteEndpoints: []int{c.Ifindex}, DeleteRemotes: []RemoteKey{{7, c.MAC}}, DeletePeers: []netip.Addr{ipA}, DeleteNetworks: []uint32{7}}); strings.TrimPrefix(got, "") != "" {
		t.Errorf("delete what is absent: got\n%s", got)
	}
	// An address moves from the remote to a, which exchanges its MAC with b.
	e := slices.Clone(s.Endpoints[:2])
	e[0].MAC, e[1].MAC = e[1].MAC, e[0].MAC
	e[0].Addrs = append(slices.Clone(e[0].Addrs), ipR)
	update(t, d, Delta{Put: State{Endpoints: e}, DeleteRemotes: []RemoteKey{{100, macR}}})
	s.Endpoints, s.Remotes = e, nil
	if got := set(t, d, s); got != "" {
		t.Errorf("Set after Update: got\n%s", got)
	}
}

// Whatever is refused changes nothing, and says why.
func TestUpdateRefuses(t *testing.T) {
	d, _ := instance(t)
	s := on(t)
	set(t, d, s)
	a := s.Endpoints[0]
	remote := Remote{VNI: 100, MAC: MAC{2, 0, 0, 0, 7, 7}, Peer: vtepR}
	for want, delta := range map[string]Delta{
		"address 10.0.0.2 in network 100: two owners: endpoint %[2]d and 02:00:00:00:07:07": {Put: State{Remotes: []Remote{
			{VNI: 100, MAC: MAC{2, 0, 0, 0, 7, 7}, Peer: vtepR, Addrs: []netip.Addr{ipB}}}}},
		"address 10.0.0.11 in network 100: two owners: 02:00:00:00:01:01 behind 192.0.2.2 and 02:00:00:00:07:07": {Put: State{Remotes: []Remote{
			{VNI: 100, MAC: MAC{2, 0, 0, 0, 7, 7}, Peer: vtepR, Addrs: []netip.Addr{ipR}}}}},
		"MAC 02:00:00:00:00:0a in network 100: two owners: endpoint %[1]d and 02:00:00:00:00:0a": {Put: State{Remotes: []Remote{
			remote, {VNI: 100, MAC: macA, Peer: vtepR}}}},
		"add endpoint %[1]d: no such network":                 {Put: State{Endpoints: []Endpoint{{Ifindex: a.Ifindex, VNI: 7, MAC: macA}}}},
		"behind 192.0.2.9: no such peer":                      {Put: State{Remotes: []Remote{{VNI: 100, MAC: remote.MAC, Peer: netip.MustParseAddr("192.0.2.9")}}}},
		"delete network 100: endpoint %[1]d is in it":         {DeleteNetworks: []uint32{100}, DeleteEndpoints: []int{s.Endpoints[1].Ifindex}, DeleteRemotes: []RemoteKey{{100, macR}}},
		"delete peer 192.0.2.2: 1 remotes are behind it":      {DeletePeers: []netip.Addr{vtepR}},
		"add network 16777216: a VNI is":                      {Put: State{Networks: []Network{{VNI: 1 << 24}}}},
		"MAC 03:00:00:00:00:00: a MAC of nobody":              {Put: State{Remotes: []Remote{{VNI: 100, MAC: MAC{3}, Peer: vtepR}}}},
		"device %[3]d: two owners: it is the uplink":          {Put: State{Endpoints: []Endpoint{{Ifindex: s.Underlay.Ifindex, VNI: 100, MAC: remote.MAC}}}},
		"set underlay: peer 192.0.2.2: make headers to VTEP":  {HasUnderlay: true, Put: State{Underlay: Underlay{Ifindex: s.Underlay.Ifindex, IPv6: ip6A}}},
		"add 02:00:00:00:07:07 in network 100 behind 192.0.2": {Put: State{Remotes: []Remote{remote, remote}}},
	} {
		want = strings.Split(fmt.Sprintf(want+"|%[1]d%[2]d%[3]d", a.Ifindex, s.Endpoints[1].Ifindex, s.Underlay.Ifindex), "|")[0]
		changes, err := d.Update(delta)
		if err == nil || !strings.Contains(err.Error(), want) || len(changes) > 0 {
			t.Errorf("got %v, %v, want %q", changes, err, want)
		}
		if got := update(t, d, Delta{Put: s, HasUnderlay: true}); got != "" {
			t.Errorf("after %v: an Update to what there was: got\n%s", err, got)
		}
	}
	if got := set(t, d, s); got != "" {
		t.Errorf("afterwards: got\n%s", got)
	}
}

// After any number of Updates everything is as one Set would have made it.
func TestUpdatesAreOneSet(t *testing.T) {
	d, _ := instance(t)
	w := &walk{Rand: rand.New(rand.NewPCG(1, 2)), uplinks: []int{0, pair(t, "pu"), pair(t, "pv")}}
	for i := range 6 {
		w.devices = append(w.devices, pair(t, fmt.Sprintf("p%d", i)))
	}
	var s State
	set(t, d, s)
	made := 0
	for i := range 600 {
		delta := w.delta()
		changes, err := d.Update(delta)
		if err == nil {
			s = delta.apply(s)
			made++
		}
		if err != nil && (len(changes) > 0 || strings.Contains(err.Error(), "attach")) {
			t.Fatalf("%d: got %v and %v", i, changes, err)
		}
		diff, err2 := d.Diff(s)
		if err2 != nil || len(diff) > 0 {
			t.Fatalf("%d: after %+v (%v): Diff: %v\n%s", i, delta, err, err2, lines(diff))
		}
	}
	if made < 100 {
		t.Errorf("%d deltas of 600 were made, too few to tell", made)
	}
	if got := set(t, d, s); got != "" {
		t.Errorf("got\n%s", got)
	}
}

// walk makes deltas that often can be.
type walk struct {
	*rand.Rand
	uplinks []int
	devices []int
}

func (w *walk) delta() (d Delta) {
	for range 1 + w.IntN(4) {
		w.add(&d)
	}
	return d
}

func (w *walk) add(d *Delta) {
	n := byte(w.IntN(6))
	vni, peer := uint32(w.IntN(2)), netip.AddrFrom4([4]byte{192, 0, 2, n % 3})
	mac, addr := MAC{2, 0, 0, 0, 0, n}, netip.AddrFrom4([4]byte{10, 0, 0, byte(w.IntN(9))})
	addrs := [][]netip.Addr{nil, {addr}, {addr, ip6A}, {addr, addr.Next()}}[w.IntN(4)]
	switch w.IntN(11) {
	case 0:
		d.HasUnderlay, d.Put.Underlay = true, Underlay{Ifindex: w.uplinks[w.IntN(3)], IPv4: vtepUs, Port: uint16(w.IntN(2))}
	case 1:
		d.Put.Networks = append(d.Put.Networks, Network{VNI: vni, Broadcast: Broadcast{On: w.IntN(2) > 0}})
	case 2:
		d.Put.Peers = append(d.Put.Peers, Peer{IP: peer, NextHop: MAC{2, 9}, MTU: 1400 + w.IntN(2)})
	case 3, 4:
		d.Put.Endpoints = append(d.Put.Endpoints, Endpoint{Ifindex: w.devices[n], VNI: vni, MAC: mac, Addrs: addrs})
	case 5, 6:
		d.Put.Remotes = append(d.Put.Remotes, Remote{VNI: vni, MAC: mac, Addrs: addrs, Peer: peer})
	case 7:
		d.DeleteEndpoints = append(d.DeleteEndpoints, w.devices[n])
	case 8:
		d.DeleteRemotes = append(d.DeleteRemotes, RemoteKey{vni, mac})
	case 9:
		d.DeletePeers = append(d.DeletePeers, peer)
	case 10:
		d.DeleteNetworks = append(d.DeleteNetworks, vni)
	}
}
