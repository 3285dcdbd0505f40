// SPDX-License-Identifier: Apache-2.0

package net

import (
	"bytes"
	"fmt"
	"net"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"foundry/datapath"
)

// lie is a frame that a container must not send, and what it is called.
type lie struct {
	name, reason string
	frame        []byte
}

// What a container is not, it cannot say that it is: each lie is dropped for
// its own reason, is counted once, for who told it, and nobody hears it.
func TestLies(t *testing.T) {
	for _, xdp := range []bool{false, true} {
		for _, remote := range []bool{false, true} {
			t.Run(fmt.Sprintf("XDP %v, remote %v", xdp, remote), func(t *testing.T) {
				f := newFabric(t, 2, wire{xdp: xdp})
				f.broadcast = datapath.Broadcast{On: true}
				a, b := f.hosts[0].container(place{vni: 100, n: 1, xdp: xdp}), f.hosts[0].container(place{vni: 100, n: 2, xdp: xdp})
				c := f.hosts[1].container(place{vni: 100, n: 3, xdp: xdp})
				if remote {
					b, c = c, b
				}
				mouth, ears := a.tap(), b.tap()
				for i, l := range lies(a, b, c) {
					before := f.hosts[0].counted()
					mouth.send(l.frame)
					end := fmt.Sprintf("end of lie %d.", i)
					mouth.send(datagram(a, b, end), toAll(a, "all: "+end))
					f.once(a, l, before)
					for _, heard := range ears.until("all: " + end) {
						if bytes.Equal(heard, l.frame) {
							t.Errorf("%s: came through: % x", l.name, heard)
						}
					}
				}
			})
		}
	}
}

// once wants one more drop of a's for the reason, and none for another.
func (f *fabric) once(a *container, l lie, before map[count]uint64) {
	f.Helper()
	want := count{a.name, "drop", l.reason}
	more := func() map[count]uint64 {
		diff := map[count]uint64{}
		for c, n := range a.h.counted() {
			if c.action == "drop" && n != before[c] {
				diff[c] = n - before[c]
			}
		}
		return diff
	}
	f.eventually(l.name+": counted", func() bool { return more()[want] >= 1 })
	if got := more(); got[want] != 1 || len(got) != 1 {
		f.Errorf("%s: drops: got %v, want 1 of %v", l.name, got, want)
	}
}

// lies are told by a to b about c.
func lies(a, b, c *container) []lie {
	mark := gopacket.Payload("a lie")
	ip4 := func(from net.IP) *layers.IPv4 {
		return &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: from, DstIP: b.ip4.AsSlice()}
	}
	ip6 := func(from net.IP) *layers.IPv6 {
		return &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolUDP, SrcIP: from, DstIP: b.ip6.AsSlice()}
	}
	of4 := func(from net.IP, source layers.UDPPort) []byte {
		ip := ip4(from)
		return frame(ethernet(a.mac, b.mac, layers.EthernetTypeIPv4), ip, udp(ip, source, 68), mark)
	}
	of6 := func(from net.IP, source layers.UDPPort) []byte {
		ip := ip6(from)
		return frame(ethernet(a.mac, b.mac, layers.EthernetTypeIPv6), ip, udp(ip, source, 546), mark)
	}
	strangers := net.ParseIP("fd00::77:1")
	return append([]lie{
		{"MAC of another", "spoof_mac", datagram(&container{mac: c.mac, ip4: a.ip4}, b, "a lie")},
		{"MAC of nobody", "spoof_mac", datagram(&container{mac: datapath.MAC{2, 9}, ip4: a.ip4}, b, "a lie")},
		{"IPv4 of another", "spoof_ipv4", of4(c.ip4.AsSlice(), 4000)},
		{"IPv4 of nobody", "spoof_ipv4", of4(net.IPv4(10, 99, 0, 1), 4000)},
		{"no IPv4", "spoof_ipv4", of4(net.IPv4zero, 4000)},
		{"IPv6 of another", "spoof_ipv6", of6(c.ip6.AsSlice(), 4000)},
		{"IPv6 of nobody", "spoof_ipv6", of6(strangers, 4000)},
		{"link-local IPv6 of another", "spoof_ipv6", of6(linkLocal(c.mac), 4000)},
		{"DHCP server", "rogue_dhcp", of4(a.ip4.AsSlice(), 67)},
		{"DHCPv6 server", "rogue_dhcp", of6(a.ip6.AsSlice(), 547)},
	}, neighbourLies(a, b, c)...)
}

func linkLocal(m datapath.MAC) net.IP {
	return net.IP{0xfe, 0x80, 15: m[5], 8: m[0] ^ 2, 9: m[1], 10: m[2], 11: 0xff, 12: 0xfe, 13: m[3], 14: m[4]}
}

// neighbourLies are those of ARP and ND.
func neighbourLies(a, b, c *container) []lie {
	arp := func(op uint16, mac datapath.MAC, ip net.IP, to datapath.MAC) []byte {
		return frame(ethernet(a.mac, to, layers.EthernetTypeARP), &layers.ARP{AddrType: layers.LinkTypeEthernet,
			Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4, Operation: op, SourceHwAddress: mac[:],
			SourceProtAddress: ip.To4(), DstHwAddress: make([]byte, 6), DstProtAddress: b.ip4.AsSlice()})
	}
	icmp6 := func(kind uint8, body gopacket.SerializableLayer) []byte {
		ip := &layers.IPv6{Version: 6, HopLimit: 255, NextHeader: layers.IPProtocolICMPv6, SrcIP: linkLocal(a.mac), DstIP: b.ip6.AsSlice()}
		icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(kind, 0)}
		if err := icmp.SetNetworkLayerForChecksum(ip); err != nil {
			panic(err)
		}
		return frame(ethernet(a.mac, b.mac, layers.EthernetTypeIPv6), ip, icmp, body)
	}
	option := func(kind layers.ICMPv6Opt, mac datapath.MAC) layers.ICMPv6Options {
		return layers.ICMPv6Options{{Type: kind, Data: mac[:]}}
	}
	return []lie{
		{"ARP answer for another", "spoof_arp", arp(layers.ARPReply, a.mac, c.ip4.AsSlice(), b.mac)},
		{"ARP answer with another's MAC", "spoof_arp", arp(layers.ARPReply, c.mac, a.ip4.AsSlice(), b.mac)},
		{"ARP request of another", "spoof_arp", arp(layers.ARPRequest, a.mac, c.ip4.AsSlice(), all())},
		{"advertisement for another", "spoof_nd", icmp6(layers.ICMPv6TypeNeighborAdvertisement, &layers.ICMPv6NeighborAdvertisement{
			Flags: 0x60, TargetAddress: c.ip6.AsSlice(), Options: option(layers.ICMPv6OptTargetAddress, a.mac)})},
		{"advertisement with another's MAC", "spoof_nd", icmp6(layers.ICMPv6TypeNeighborAdvertisement, &layers.ICMPv6NeighborAdvertisement{
			Flags: 0x60, TargetAddress: a.ip6.AsSlice(), Options: option(layers.ICMPv6OptTargetAddress, c.mac)})},
		{"solicitation with another's MAC", "spoof_nd", icmp6(layers.ICMPv6TypeNeighborSolicitation, &layers.ICMPv6NeighborSolicitation{
			TargetAddress: b.ip6.AsSlice(), Options: option(layers.ICMPv6OptSourceAddress, c.mac)})},
		{"router", "rogue_ra", icmp6(layers.ICMPv6TypeRouterAdvertisement, &layers.ICMPv6RouterAdvertisement{HopLimit: 64, RouterLifetime: 1800,
			Options: option(layers.ICMPv6OptSourceAddress, a.mac)})},
		{"redirect", "rogue_ra", icmp6(layers.ICMPv6TypeRedirect, &layers.ICMPv6Redirect{
			TargetAddress: linkLocal(a.mac), DestinationAddress: c.ip6.AsSlice()})},
	}
}
