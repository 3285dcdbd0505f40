// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
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
	before := w.contents()
	for range frames {
		v := seeds[random.IntN(len(seeds))]
		v.in = mutate(random, v.in)
		w.run("tc", v)
		w.run("xdp", v)
	}
	if after := w.contents(); after != before {
		t.Errorf("maps: got\n%s\nwant\n%s", after, before)
	}
}

// contents are all maps that no program may write, as text.
func (w *world) contents() string {
	w.Helper()
	var rows []string
	for _, name := range []string{"fdb", "neigh", "ep_by_ifindex", "vni", "vtep", "vtep_by_ip", "bum", "devs", "cfg", "rate"} {
		var k, v []byte
		for it := w.tc.Maps[name].Iterate(); it.Next(&k, &v); {
			rows = append(rows, fmt.Sprintf("%s %x: %x", name, k, v))
		}
	}
	slices.Sort(rows)
	return strings.Join(rows, "\n")
}

// TestRandomFramesByKernel sends such frames to the kernel's VXLAN device:
// whatever of them comes out is decided like any other, and nothing else
// changes.
func TestRandomFramesByKernel(t *testing.T) {
	w := newWorld(t)
	up := newUnderlay(t, w)
	before := w.contents()
	const frames = 1000
	random := rand.New(rand.NewPCG(7348, 8472))
	inner := inside(macB, 0, 30)
	_, far := chain(3, 58, nd(ip{src: ip6R, dst: ip6B}, 135, 0, ip6B, lladdr(1, macR))[40:])
	seeds := [][]byte{inner, inside6(macB, 0, 30), inside(allOnes, 0, 30), eth(macB, macR, 0x0806, arp(2, macR, ipR, macB, ipB)),
		eth(macB, macR, 0x86dd, ipv6(ip{src: ip6R, dst: ip6B, proto: 60, ttl: 255}, far))}
	verdicts := map[string]int{}
	for range frames {
		in := mutate(random, seeds[random.IntN(len(seeds))])
		if random.IntN(2) == 0 {
			verdicts[w.arrives(up, overlay4(ip{}, vxlanI, 100, in))]++
		} else {
			verdicts[w.arrives(up, overlay6(ip{}, vxlanI, 100, in))]++
		}
	}
	t.Log(verdicts)
	if verdicts["redirect decapsulated"] == 0 || verdicts["drop fdb_miss"] == 0 {
		t.Errorf("got %v, want frames that arrive and frames that do not", verdicts)
	}
	if after := w.contents(); after != before {
		t.Errorf("maps: got\n%s\nwant\n%s", after, before)
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
	before := w.contents()
	f.Fuzz(func(t *testing.T, uplink bool, in []byte) {
		if len(in) < 14 || len(in) > 9000 {
			t.Skip("no frame")
		}
		v := vector{name: "fuzz", uplink: uplink, in: in}
		here := *w
		here.TB = t
		here.run("tc", v)
		here.run("xdp", v)
		if after := here.contents(); after != before {
			t.Errorf("maps: got\n%s\nwant\n%s", after, before)
		}
	})
}
