// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"math/rand/v2"
	"testing"
)

// corpus is one of each kind of frame, for what is cut or changed at random.
func corpus() []vector {
	inner := eth(macB, macR, 0x0800, ipv4(ip{src: ipR, dst: ipB, proto: 17}, udp(1, 2, fill(30))))
	_, far := chain(3, 58, nd(ip{src: ip6A, dst: ip6B}, 135, 0, ip6B, lladdr(1, macA))[40:])
	return []vector{
		{name: "udp", in: eth(macB, macA, 0x0800, ipv4(ip{src: ipA, dst: ipB, proto: 17, options: make([]byte, 8)}, udp(1, 2, fill(30))))},
		{name: "tcp6", in: eth(macR6, macA, 0x86dd, ipv6(ip{src: ip6A, dst: ip6R, proto: 6}, tcp(1, 2, fill(30))))},
		{name: "arp", in: arpFrame(allOnes, arp(1, macA, ipA, zeroMAC, ipB))},
		{name: "nd", in: eth(macB, macA, 0x86dd, nd(ip{src: ip6A, dst: ip6B}, 135, 0, ip6B, lladdr(1, macA)))},
		{name: "far nd", in: eth(macB, macA, 0x86dd, ipv6(ip{src: ip6A, dst: ip6B, proto: 60, ttl: 255}, far))},
		{name: "too big", in: eth(macR, macA, 0x0800, ipv4(ip{src: ipA, dst: ipR, proto: 6, frag: 0x4000}, tcp(1, 2, fill(1420))))},
		{name: "vxlan", uplink: true, in: overlay4(ip{}, 0x08000000, 100, inner)},
		{name: "vxlan6", uplink: true, in: overlay6(ip{}, 0x08000000, 100, inner)},
	}
}

// TestRandomFrames changes frames at random: whatever comes in, a program
// returns a verdict that it counted, and changes no map but its counters.
func TestRandomFrames(t *testing.T) {
	w := newWorld(t)
	const frames = 4000
	random := rand.New(rand.NewPCG(7348, 4789))
	seeds := corpus()
	for range frames {
		v := seeds[random.IntN(len(seeds))]
		v.in = mutate(random, v.in)
		w.run("tc", v)
		w.run("xdp", v)
	}
	for name, want := range map[string]int{"fdb": 11, "neigh": 10, "ep_by_ifindex": 1, "vni": 4, "vtep": 3, "vtep_by_ip": 3, "rate": 0} {
		n := 0
		var k, v []byte
		for it := w.tc.Maps[name].Iterate(); it.Next(&k, &v); {
			n++
		}
		if n != want {
			t.Errorf("%s: got %d entries, want %d", name, n, want)
		}
	}
}

// mutate changes a few bytes, mostly in headers, or the length.
func mutate(random *rand.Rand, in []byte) []byte {
	b := join(in)
	for range 1 + random.IntN(4) {
		b[random.IntN(min(len(b), 130))] = byte(random.Uint32())
	}
	switch random.IntN(4) {
	case 0:
		b = b[:14+random.IntN(len(b)-13)]
	case 1:
		b = append(b, make([]byte, random.IntN(200))...)
	}
	return b
}

// FuzzFrames looks for frames that no table has: go test -fuzz FuzzFrames.
func FuzzFrames(f *testing.F) {
	for _, v := range corpus() {
		f.Add(v.uplink, v.in)
	}
	w := newWorld(f)
	f.Fuzz(func(t *testing.T, uplink bool, in []byte) {
		if len(in) < 14 || len(in) > 9000 {
			t.Skip("no frame")
		}
		v := vector{name: "fuzz", uplink: uplink, in: in}
		here := *w
		here.TB = t
		here.run("tc", v)
		here.run("xdp", v)
	})
}
