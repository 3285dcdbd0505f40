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

// Three hosts: what is for all comes to each of the network exactly once,
// wherever it is, and to nobody else; what came from a VTEP goes to none.
func TestThreeHosts(t *testing.T) {
	for _, w := range some([]wire{{}, {control: true, v6: true}, {v6: true}, {xdp: true}, {kernel: true}}) {
		t.Run(w.String(), func(t *testing.T) {
			f := newFabric(t, 3, w)
			f.broadcast = datapath.Broadcast{On: true}
			list := []*container{f.hosts[0].container(place{vni: 100, n: 1}), f.hosts[0].container(place{vni: 100, n: 2}),
				f.hosts[1].container(place{vni: 100, n: 3}), f.hosts[1].container(place{vni: 100, n: 4}), f.hosts[2].container(place{vni: 100, n: 5})}
			foreign := f.hosts[2].container(place{vni: 200, n: 6})
			f.flood(list, foreign)
			for i, a := range list {
				for _, b := range list[i+1:] {
					a.reaches(b)
					b.reaches(a)
				}
			}
			f.exchange(list[0], list[4], few)
			f.intact()
			f.settled()
			f.drops()
		})
	}
}

// kinds are frames for many, each with a mark.
func kinds(from *container) map[string]func(mark string) []byte {
	group := datapath.MAC{0x01, 0, 0x5e, 1, 2, 3}
	group6 := datapath.MAC{0x33, 0x33, 0, 0, 0, 0xfb}
	return map[string]func(string) []byte{
		"broadcast": func(mark string) []byte { return toAll(from, mark) },
		"multicast": func(mark string) []byte {
			ip := &layers.IPv4{Version: 4, TTL: 1, Protocol: layers.IPProtocolUDP, SrcIP: from.ip4.AsSlice(), DstIP: net.IPv4(239, 1, 2, 3)}
			return frame(ethernet(from.mac, group, layers.EthernetTypeIPv4), ip, udp(ip, 5353, 5353), gopacket.Payload(mark))
		},
		"multicast6": func(mark string) []byte {
			ip := &layers.IPv6{Version: 6, HopLimit: 1, NextHeader: layers.IPProtocolUDP, SrcIP: from.ip6.AsSlice(), DstIP: net.ParseIP("ff02::fb")}
			return frame(ethernet(from.mac, group6, layers.EthernetTypeIPv6), ip, udp(ip, 5353, 5353), gopacket.Payload(mark))
		},
		"DHCP": func(mark string) []byte {
			ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: net.IPv4zero, DstIP: net.IPv4bcast}
			return frame(ethernet(from.mac, all(), layers.EthernetTypeIPv4), ip, udp(ip, 68, 67), gopacket.Payload(mark))
		},
	}
}

// flood sends frames of all kinds from the first, and wants one of each to
// come to each of the others.
func (f *fabric) flood(list []*container, foreign *container) {
	f.Helper()
	sender, outside := list[0].tap(), foreign.tap()
	var taps, wires []*tap
	for _, c := range list[1:] {
		taps = append(taps, c.tap())
	}
	for _, h := range f.hosts {
		wires = append(wires, f.tap(h.ns, "up0", h.name+"'s uplink").outgoing())
	}
	for name, make := range kinds(list[0]) {
		for i := range said {
			sender.send(make(fmt.Sprintf("%s %d.", name, i)))
		}
	}
	sender.send(toAll(list[0], "the end"))
	for _, t := range taps {
		frames := t.until("the end")
		for name := range kinds(list[0]) {
			for i := range said {
				if got := carrying(frames, fmt.Sprintf("%s %d.", name, i)); got != 1 {
					f.Errorf("%s: %s %d: got %d copies, want 1", t.name, name, i, got)
				}
			}
		}
	}
	f.onTheWire(wires, 4*said+1)
	for _, t := range []*tap{sender, outside} {
		for b := t.next(0); b != nil; b = t.next(0) {
			if bytes.Contains(b, []byte("cast ")) || bytes.Contains(b, []byte("DHCP ")) {
				f.Fatalf("%s: got a copy", t.name)
			}
		}
	}
}

// onTheWire: the sender's host sends each VTEP one copy, the others none.
func (f *fabric) onTheWire(wires []*tap, want int) {
	f.Helper()
	for i, t := range wires {
		got := map[string]int{}
		for b := t.next(0); b != nil; b = t.next(0) {
			if outer := parseOuter(b); outer != nil && bytes.Equal(outer.from, f.hosts[i].ip.AsSlice()) && flooded(b) {
				got[outer.to.String()]++
			}
		}
		for j, h := range f.hosts {
			n := 0
			if i == 0 && j != 0 {
				n = want
			}
			if got[h.ip.String()] != n {
				f.Errorf("%s -> %v: got %d copies, want %d", t.name, h.ip, got[h.ip.String()], n)
			}
		}
	}
}

func flooded(b []byte) bool {
	for _, mark := range []string{"cast ", "multicast6 ", "DHCP ", "the end"} {
		if bytes.Contains(b, []byte(mark)) {
			return true
		}
	}
	return false
}
