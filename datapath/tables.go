// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"foundry/bpf"
)

// tables are the contents of the maps.
type tables struct {
	endpoints map[uint32]bpf.Endpoint
	fdb       map[bpf.FdbKey]bpf.FdbEntry
	neigh     map[bpf.NeighKey]bpf.NeighEntry
	vteps     map[uint32]bpf.VtepEntry
	vtepByIP  map[bpf.VtepKey]uint32
	vnis      map[uint32]bpf.VniEntry
	devs      map[uint32]struct{} // that XDP frames are sent to
	receivers map[uint32][]bpf.Receiver
	config    bpf.Config
}

// compile turns what is wanted into what the maps have to contain. ids are
// the VTEP ids in use: a VTEP keeps its own, so that entries of the FDB that
// name it stay true while both change.
func compile(s State, ids map[bpf.VtepKey]uint32) (tables, error) {
	t := tables{
		endpoints: map[uint32]bpf.Endpoint{}, fdb: map[bpf.FdbKey]bpf.FdbEntry{}, neigh: map[bpf.NeighKey]bpf.NeighEntry{},
		vteps: map[uint32]bpf.VtepEntry{}, vtepByIP: map[bpf.VtepKey]uint32{}, vnis: map[uint32]bpf.VniEntry{},
		devs: map[uint32]struct{}{}, receivers: map[uint32][]bpf.Receiver{}, config: config(s.Underlay),
	}
	if err := s.Underlay.check(); err != nil {
		return t, err
	}
	for _, n := range s.Networks {
		if _, taken := t.vnis[n.VNI]; taken {
			return t, fmt.Errorf("add network %d: %w", n.VNI, ErrConflict)
		}
		t.vnis[n.VNI] = vni(n)
	}
	if err := t.addPeers(s, ids); err != nil {
		return t, err
	}
	for _, e := range s.Endpoints {
		if err := t.addEndpoint(e); err != nil {
			return t, fmt.Errorf("add endpoint %d, %v in network %d: %w", e.Ifindex, e.MAC, e.VNI, err)
		}
	}
	for _, r := range s.Remotes {
		if err := t.addRemote(r); err != nil {
			return t, fmt.Errorf("add %v in network %d behind %v: %w", r.MAC, r.VNI, r.Peer, err)
		}
	}
	if s.Underlay.XDP {
		t.devs[uint32(s.Underlay.Ifindex)] = struct{}{}
	}
	t.addReceivers(s)
	return t, nil
}

// addReceivers lists who gets broadcasts: local endpoints and the VTEPs that
// somebody of the network is behind, each once, in the order of their numbers.
func (t *tables) addReceivers(s State) {
	for _, e := range s.Endpoints {
		port := uint32(e.Ifindex)
		t.receivers[e.VNI] = append(t.receivers[e.VNI], bpf.Receiver{Ifindex: port, Endpoint: port})
	}
	for _, r := range s.Remotes {
		t.receivers[r.VNI] = append(t.receivers[r.VNI], bpf.Receiver{Vtep: t.vtepByIP[vtepKey(r.Peer)]})
	}
	for vni, list := range t.receivers {
		if t.vnis[vni].Flags&bpf.TCVniFlagVNI_BUM == 0 {
			delete(t.receivers, vni)
			continue
		}
		slices.SortFunc(list, func(a, b bpf.Receiver) int {
			return cmp.Or(cmp.Compare(a.Ifindex, b.Ifindex), cmp.Compare(a.Vtep, b.Vtep))
		})
		t.receivers[vni] = slices.Compact(list)
	}
}

func config(u Underlay) bpf.Config {
	c := bpf.Config{Abi: bpf.ABI, Port: bpf.Port(cmp.Or(u.Port, bpf.DefaultPort)), Events: 10,
		Vtep4: bpf.AddrOf(u.IPv4), Vtep6: bpf.AddrOf(u.IPv6)}
	if u.XDP {
		c.Flags |= bpf.TCCfgFlagCFG_XDP_XMIT
	}
	return c
}

func vni(n Network) bpf.VniEntry {
	e := bpf.VniEntry{BumBurst: uint32(max(n.Broadcast.Burst, 1))}
	if n.Broadcast.On {
		e.Flags |= bpf.TCVniFlagVNI_BUM
	}
	if n.Broadcast.PerSecond > 0 {
		e.BumInterval = uint64(1e9) / uint64(n.Broadcast.PerSecond)
	}
	return e
}

func (t *tables) addPeers(s State, ids map[bpf.VtepKey]uint32) error {
	used := map[uint32]bool{}
	for _, id := range ids {
		used[id] = true
	}
	next := uint32(1) // 0 is no VTEP in a list of receivers
	for _, p := range s.Peers {
		key := vtepKey(p.IP)
		if _, taken := t.vtepByIP[key]; taken {
			return fmt.Errorf("add peer %v: %w", p.IP, ErrConflict)
		}
		e, err := vtep(s.Underlay, p)
		if err != nil {
			return fmt.Errorf("add peer %v: %w", p.IP, err)
		}
		id, known := ids[key]
		for ; !known; next++ {
			id, known = next, !used[next]
		}
		t.vtepByIP[key], t.vteps[id] = id, e
	}
	return nil
}

// tunnel is the device that encapsulates for us, or 0.
func (u Underlay) tunnel() uint32 {
	if u.Encap != EncapKernel {
		return 0
	}
	return uint32(u.Tunnel)
}

// check refuses what is no tunnel's end.
func (u Underlay) check() error {
	switch u.Encap {
	case "", EncapBPF:
		return nil
	case EncapKernel:
		if u.Tunnel > 0 && u.Ifindex > 0 {
			return nil
		}
		return fmt.Errorf("set underlay: encap kernel needs an uplink and a tunnel device: got %d and %d", u.Ifindex, u.Tunnel)
	}
	return fmt.Errorf("set underlay: no such encap: %q (bpf or kernel)", u.Encap)
}

func vtepKey(ip netip.Addr) bpf.VtepKey {
	return bpf.VtepKey{Family: bpf.Family(ip), Ip: bpf.AddrOf(ip)}
}

func vtep(u Underlay, p Peer) (bpf.VtepEntry, error) {
	local := u.IPv4
	if p.IP.Is6() {
		local = u.IPv6
	}
	e, err := bpf.NewVtep(bpf.Tunnel{LocalMAC: net.HardwareAddr(p.Local[:]), RemoteMAC: net.HardwareAddr(p.NextHop[:]),
		Local: local, Remote: p.IP, Port: u.Port, Ifindex: u.Ifindex, MTU: p.MTU})
	e.Tunnel = u.tunnel()
	switch {
	case p.Down:
		e.State = bpf.TCVtepStateVTEP_DOWN
	case p.Stale:
		e.State = bpf.TCVtepStateVTEP_STALE
	}
	return e, err
}

func (t *tables) addEndpoint(e Endpoint) error {
	port := uint32(e.Ifindex)
	if _, taken := t.endpoints[port]; taken || e.Ifindex <= 0 {
		return fmt.Errorf("device %d: %w", e.Ifindex, ErrConflict)
	}
	entry := bpf.Endpoint{Id: port, Vni: e.VNI, Mac: bpf.Mac{B: e.MAC}, Mtu: uint16(e.MTU)}
	forward := bpf.FdbEntry{Type: bpf.TCFdbTypeFDB_LOCAL, Target: port, Endpoint: port, Mtu: uint16(e.MTU)}
	if e.XDP {
		entry.Flags |= bpf.TCEndpointFlagEP_XDP
		forward.Flags |= bpf.TCFdbFlagFDB_XDP
		t.devs[port] = struct{}{}
	}
	if e.Trusted {
		entry.Flags |= bpf.TCEndpointFlagEP_NO_SPOOF
	}
	for _, ip := range e.Addrs {
		if ip.Is4() && entry.Ip4 == 0 {
			entry.Ip4 = bpf.IPv4(ip)
		} else if ip.Is6() && entry.Ip6 == (bpf.Addr{}) {
			entry.Ip6 = bpf.AddrOf(ip)
		}
	}
	t.endpoints[port] = entry
	return t.addOwner(e.VNI, e.MAC, forward, append([]netip.Addr{linkLocal(e.MAC)}, e.Addrs...))
}

func (t *tables) addRemote(r Remote) error {
	id, known := t.vtepByIP[vtepKey(r.Peer)]
	if !known {
		return fmt.Errorf("no such peer")
	}
	return t.addOwner(r.VNI, r.MAC, bpf.FdbEntry{Type: bpf.TCFdbTypeFDB_REMOTE, Target: id},
		append([]netip.Addr{linkLocal(r.MAC)}, r.Addrs...))
}

// addOwner adds a MAC and its addresses: forwarding and neighbours come from
// one place, so that neither is there without the other.
func (t *tables) addOwner(vni uint32, mac MAC, e bpf.FdbEntry, addrs []netip.Addr) error {
	if _, known := t.vnis[vni]; !known {
		return fmt.Errorf("no such network")
	}
	key := bpf.FdbKey{Vni: vni, Mac: bpf.Mac{B: mac}}
	if _, taken := t.fdb[key]; taken {
		return fmt.Errorf("MAC: %w", ErrConflict)
	}
	t.fdb[key] = e
	for _, ip := range addrs {
		key := bpf.NeighKey{Vni: vni, Family: bpf.Family(ip), Ip: bpf.AddrOf(ip)}
		if old, taken := t.neigh[key]; taken && old.Mac.B != mac {
			return fmt.Errorf("address %v: %w", ip, ErrConflict)
		}
		t.neigh[key] = bpf.NeighEntry{Mac: bpf.Mac{B: mac}}
	}
	return nil
}

// linkLocal is the address that a device makes of its MAC (RFC 4291).
func linkLocal(m MAC) netip.Addr {
	return netip.AddrFrom16([16]byte{0xfe, 0x80, 8: m[0] ^ 2, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]})
}
