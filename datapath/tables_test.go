// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"foundry/bpf"
)

var (
	macA, macB, macR = MAC{2, 0, 0, 0, 0, 0xa}, MAC{2, 0, 0, 0, 0, 0xb}, MAC{2, 0, 0, 0, 1, 1}
	ipA, ipB, ipR    = netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.11")
	ip6A             = netip.MustParseAddr("fd00::1")
	vtepUs, vtepR    = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
)

// Endpoints behind one VTEP share its copy of a broadcast, in whatever order they come.
func TestReceiversOnce(t *testing.T) {
	s := example()
	other := Peer{IP: netip.MustParseAddr("192.0.2.3"), NextHop: MAC{2, 9}, Local: MAC{2, 8}}
	s.Peers = append(s.Peers, other)
	for i, peer := range []netip.Addr{other.IP, vtepR, other.IP, vtepR} {
		s.Remotes = append(s.Remotes, Remote{VNI: 100, MAC: MAC{2, 0, 0, 0, 2, byte(i)}, Peer: peer})
	}
	got, err := compile(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []bpf.Receiver{{Vtep: 1}, {Vtep: 2}, {Ifindex: 5, Endpoint: 5}, {Ifindex: 6, Endpoint: 6}}
	if list := got.receivers(100); !slices.Equal(list, want) {
		t.Errorf("receivers: got %+v, want %+v", list, want)
	}
}

// example is two endpoints and one behind a peer, in one network.
func example() State {
	return State{
		Underlay: Underlay{Ifindex: 9, IPv4: vtepUs},
		Networks: []Network{{VNI: 100, Broadcast: Broadcast{On: true, PerSecond: 10}}},
		Endpoints: []Endpoint{{Ifindex: 5, VNI: 100, MAC: macA, Addrs: []netip.Addr{ipA, ip6A}, MTU: 1500},
			{Ifindex: 6, VNI: 100, MAC: macB, Addrs: []netip.Addr{ipB}, XDP: true}},
		Peers:   []Peer{{IP: vtepR, NextHop: MAC{2, 9}, Local: MAC{2, 8}, MTU: 1500}},
		Remotes: []Remote{{VNI: 100, MAC: macR, Addrs: []netip.Addr{ipR}, Peer: vtepR}},
	}
}

func TestCompile(t *testing.T) {
	got, err := compile(example(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(got.fdb.puts); n != 3 {
		t.Errorf("FDB: got %d entries, want 3", n)
	}
	// Each has a link-local address besides its own.
	if n := len(got.neigh.puts); n != 4+3 {
		t.Errorf("neighbours: got %d, want 7", n)
	}
	a := got.layers.endpoints.puts[5]
	if a.Vni != 100 || a.Mac.B != macA || a.Ip4 != bpf.IPv4(ipA) || a.Ip6 != bpf.AddrOf(ip6A) {
		t.Errorf("endpoint 5: got %+v", a)
	}
	if e := got.fdb.puts[bpf.FdbKey{Vni: 100, Mac: bpf.Mac{B: macB}}]; e.Target != 6 || e.Flags != bpf.TCFdbFlagFDB_XDP {
		t.Errorf("FDB entry of endpoint 6: got %+v", e)
	}
	if v := got.vtep.puts[1]; v.Mtu != 1450 || v.Ifindex != 9 {
		t.Errorf("VTEP: got MTU %d, device %d, want 1450 and 9", v.Mtu, v.Ifindex)
	}
	want := []bpf.Receiver{{Vtep: 1}, {Ifindex: 5, Endpoint: 5}, {Ifindex: 6, Endpoint: 6}}
	if list := got.receivers(100); len(list) != 3 || list[0] != want[0] || list[1] != want[1] || list[2] != want[2] {
		t.Errorf("receivers: got %+v, want %+v", list, want)
	}
}

// A peer keeps its number when another comes before it.
func TestVtepNumbersStay(t *testing.T) {
	s := example()
	other := s.Peers[0]
	other.IP = netip.MustParseAddr("192.0.2.7")
	s.Peers = append([]Peer{other}, s.Peers...)
	got, err := compile(s, map[bpf.VtepKey]uint32{vtepKey(vtepR): 1})
	if err != nil {
		t.Fatal(err)
	}
	if got.vtepByIP.puts[vtepKey(vtepR)] != 1 || got.vtepByIP.puts[vtepKey(other.IP)] != 2 {
		t.Errorf("numbers of VTEPs: got %v", got.vtepByIP.puts)
	}
}

func TestContradictions(t *testing.T) {
	for name, c := range map[string]struct {
		change   func(*State)
		want     string
		conflict bool
	}{
		"MAC twice":          {func(s *State) { s.Endpoints[1].MAC = macA }, "add endpoint 6: MAC 02:00:00:00:00:0a in network 100: two owners: endpoint 5 and endpoint 6", true},
		"address twice":      {func(s *State) { s.Endpoints[1].Addrs[0] = ipA }, "add endpoint 6: address 10.0.0.1 in network 100: two owners: endpoint 5 and endpoint 6", true},
		"address of remote":  {func(s *State) { s.Remotes[0].Addrs[0] = ipB }, "address 10.0.0.2 in network 100: two owners: endpoint 6 and 02:00:00:00:01:01", true},
		"device twice":       {func(s *State) { s.Endpoints[1].Ifindex = 5 }, "device 5", true},
		"network twice":      {func(s *State) { s.Networks = append(s.Networks, Network{VNI: 100}) }, "add network 100", true},
		"peer twice":         {func(s *State) { s.Peers = append(s.Peers, s.Peers[0]) }, "add peer 192.0.2.2", true},
		"network unknown":    {func(s *State) { s.Endpoints[0].VNI = 7 }, "no such network", false},
		"peer unknown":       {func(s *State) { s.Remotes[0].Peer = ipA }, "no such peer", false},
		"peer out of family": {func(s *State) { s.Peers[0].IP = ip6A }, "needs two addresses of one family", false},
	} {
		s := example()
		c.change(&s)
		_, err := compile(s, nil)
		if err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, ErrConflict) != c.conflict {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}
