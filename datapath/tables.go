// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"

	"foundry/bpf"
)

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

func fdbKey(vni uint32, mac MAC) bpf.FdbKey { return bpf.FdbKey{Vni: vni, Mac: bpf.Mac{B: mac}} }

func neighKey(vni uint32, ip netip.Addr) bpf.NeighKey {
	return bpf.NeighKey{Vni: vni, Family: bpf.Family(ip), Ip: bpf.AddrOf(ip)}
}

// local is what the maps have of an endpoint: who it is, and how it is reached.
func local(e Endpoint) (bpf.Endpoint, bpf.FdbEntry) {
	port := uint32(e.Ifindex)
	entry := bpf.Endpoint{Id: port, Vni: e.VNI, Mac: bpf.Mac{B: e.MAC}, Mtu: uint16(e.MTU)}
	forward := bpf.FdbEntry{Type: bpf.TCFdbTypeFDB_LOCAL, Target: port, Endpoint: port, Mtu: uint16(e.MTU)}
	if e.XDP {
		entry.Flags |= bpf.TCEndpointFlagEP_XDP
		forward.Flags |= bpf.TCFdbFlagFDB_XDP
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
	return entry, forward
}

// linkLocal is the address that a device makes of its MAC (RFC 4291).
func linkLocal(m MAC) netip.Addr {
	return netip.AddrFrom16([16]byte{0xfe, 0x80, 8: m[0] ^ 2, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]})
}
