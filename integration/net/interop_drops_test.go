// SPDX-License-Identifier: Apache-2.0

package net

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"foundry/datapath"
)

// tunnelled is a frame of the foreign host for ours: an outer UDP datagram to
// a VTEP, which says what it likes.
func (f *foreign) tunnelled(payload []byte) []byte {
	port := layers.UDPPort(4789)
	mac := [2]datapath.MAC{datapath.MAC(f.other.up.HardwareAddr), datapath.MAC(f.ours.up.HardwareAddr)}
	if f.v6 {
		ip := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolUDP, SrcIP: f.other.ip.AsSlice(), DstIP: f.ours.ip.AsSlice()}
		return frame(ethernet(mac[0], mac[1], layers.EthernetTypeIPv6), ip, udp(ip, 50000, port), gopacket.Payload(payload))
	}
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: f.other.ip.AsSlice(), DstIP: f.ours.ip.AsSlice()}
	return frame(ethernet(mac[0], mac[1], layers.EthernetTypeIPv4), ip, udp(ip, 50000, port), gopacket.Payload(payload))
}

// vxlan is a header: flags of the first byte, and a VNI.
func vxlan(flags byte, vni uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{flags, 0, 0, 0}, vni<<8)
}

// What is no VXLAN for us is dropped before anybody sees it, and counted by
// what is wrong with it. What is right comes through.
func TestInteropDrops(t *testing.T) {
	for _, c := range []interop{{}, {wire: wire{v6: true}}, {wire: wire{xdp: true}}, {wire: wire{v6: true, xdp: true}}} {
		t.Run(fmt.Sprintf("IPv6 %v, XDP %v", c.v6, c.wire.xdp), func(t *testing.T) {
			f := newForeign(t, c, func(*foreign) {})
			wire, inside := f.tap(f.other.ns, "up0", "the wire"), f.a.tap()
			for reason, bad := range map[string][]byte{
				"vni_unknown": slices.Concat(vxlan(8, foreignVNI+1), datagram(f.b, f.a, "bad")),
				"vxlan_flag":  slices.Concat(vxlan(0, foreignVNI), datagram(f.b, f.a, "bad")),
				"vxlan_short": vxlan(8, foreignVNI)[:7],
				"runt":        slices.Concat(vxlan(8, foreignVNI), datagram(f.b, f.a, "bad")[:13]),
				"not_local":   slices.Concat(vxlan(8, foreignVNI), datagram(f.a, f.b, "bad")),
			} {
				before := f.ours.dropped()[reason]
				wire.send(f.tunnelled(bad), f.tunnelled(bad))
				f.eventually(reason, func() bool { return f.ours.dropped()[reason] == before+2 })
			}
			good := slices.Concat(vxlan(8, foreignVNI), datagram(f.b, f.a, "the end"))
			good[1], good[7] = 0xff, 0xff // reserved bits
			wire.send(f.tunnelled(good))
			if n := carrying(inside.until("the end"), "bad"); n > 0 {
				t.Errorf("%d of the bad ones came through", n)
			}
			f.drops("not_local", "runt", "vni_unknown", "vxlan_flag", "vxlan_short")
		})
	}
}

// The kernel has one network, we have two: it hears nothing of the other.
func TestInteropOtherNetwork(t *testing.T) {
	f := newForeign(t, interop{}, func(f *foreign) { f.kernelDevice(foreignVNI, "") })
	stranger := f.ours.bare(place{vni: foreignVNI + 1, n: 1, mtu: f.room()})
	f.ours.containers = append(f.ours.containers, stranger)
	s := f.ours.state()
	s.Peers = append(s.Peers, f.peer)
	for _, vni := range []uint32{foreignVNI, foreignVNI + 1} {
		s.Remotes = append(s.Remotes, datapath.Remote{VNI: vni, MAC: f.b.mac, Addrs: f.b.addrs(), Peer: f.peer.IP})
	}
	f.ours.set(s)
	wire, inside := f.tap(f.other.ns, "up0", "the wire"), f.tap(f.other.ns, ourDevice, "the kernel's device")
	stranger.tap().send(datagram(stranger, f.b, "of another network"))
	f.a.tap().send(datagram(f.a, f.b, "the end"))
	frames := wire.until("the end")
	i := slices.IndexFunc(frames, func(b []byte) bool { return bytes.Contains(b, []byte("of another network")) })
	if i < 0 {
		t.Fatal("nothing of the other network on the wire")
	}
	if o := parseOuter(frames[i]); o == nil || o.vni != foreignVNI+1 {
		t.Errorf("on the wire: got %+v, want VNI %d", o, foreignVNI+1)
	}
	if n := carrying(inside.until("the end"), "of another network"); n > 0 {
		t.Errorf("%d came into network %d", n, foreignVNI)
	}
	f.drops()
}
