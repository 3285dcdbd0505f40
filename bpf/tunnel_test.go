// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/cilium/ebpf"
)

const vxlanI = 0x08000000

// byKernel: the kernel decides it by itself, and the program sees nothing.
const byKernel = "by the kernel"

// overlay4 is an inner frame on the underlay, as VTEP R sends it; h overrides
// what it has of the outer header.
func overlay4(h ip, flags, vni uint32, inner []byte) []byte {
	if h.src == "" {
		h.src = vtepR
	}
	if h.dst == "" {
		h.dst = vtepUs
	}
	h.proto = 17
	return eth(macUp, macBelow, 0x0800, ipv4(h, udp(50000, 4789, vxlan(flags, vni, inner))))
}

func overlay6(h ip, flags, vni uint32, inner []byte) []byte {
	if h.src == "" {
		h.src = vtep6R
	}
	h.dst, h.proto = vtep6Us, 17
	return eth(macUp, macBelow, 0x86dd, ipv6(h, udp(50000, 4789, vxlan(flags, vni, inner))))
}

func remote(m string, tos byte, n int) []byte {
	return eth(m, macA, 0x0800, ipv4(ip{src: ipA, dst: ipR, proto: 17, tos: tos}, udp(1000, 2000, fill(n))))
}

func remote6(m string, tos byte, n int) []byte {
	return eth(m, macA, 0x86dd, ipv6(ip{src: ip6A, dst: ip6R, proto: 17, tos: tos}, udp(1000, 2000, fill(n))))
}

func TestEncap(t *testing.T) {
	var table []vector
	vtepOf := map[string]uint32{macR: 1, macR6: 2}
	for _, m := range []string{macR, macR6} {
		for ecn := byte(0); ecn < 4; ecn++ {
			table = append(table,
				vector{name: fmt.Sprintf("VTEP %d, ipv4, DSCP 46, ECN %d", vtepOf[m], ecn), in: remote(m, 46<<2|ecn, 20), want: "redirect remote"},
				vector{name: fmt.Sprintf("VTEP %d, ipv6, DSCP 46, ECN %d", vtepOf[m], ecn), in: remote6(m, 46<<2|ecn, 20), want: "redirect remote"})
		}
		table = append(table,
			vector{name: fmt.Sprintf("VTEP %d, odd length", vtepOf[m]), in: remote(m, 0, 21), want: "redirect remote"},
			vector{name: fmt.Sprintf("VTEP %d, nothing inside", vtepOf[m]),
				in: eth(m, macA, 0x0800, ipv4(ip{src: ipA, dst: ipR, proto: 253}, nil)), want: "redirect remote"},
			vector{name: fmt.Sprintf("VTEP %d, an ARP reply", vtepOf[m]), in: arpFrame(m, arp(2, macA, ipA, m, ipR)), want: "redirect remote"},
			vector{name: fmt.Sprintf("VTEP %d, a fragment", vtepOf[m]),
				in: eth(m, macA, 0x0800, ipv4(ip{src: ipA, dst: ipR, proto: 17, frag: 0x2003}, fill(16))), want: "redirect remote"})
	}
	table = append(table,
		vector{name: "largest over IPv4", in: remote(macR, 0, 1450-28), want: "redirect remote"},
		vector{name: "largest over IPv6", in: remote6(macR6, 0, 1430-48), want: "redirect remote"})
	golden(t, "encap", table)
}

// VNIs at both ends of their 24 bits, which golden tables have no room for.
func TestEncapVNI(t *testing.T) {
	w := newWorld(t)
	for _, vni := range []uint32{0, 1, 1<<24 - 1} {
		w.forwarding(vni, macR, FdbEntry{Type: TCFdbTypeFDB_REMOTE, Target: 1})
		ep := sender()
		ep.Vni = vni
		w.configure(ep, settings())
		for _, hook := range []string{"tc", "xdp"} {
			out := w.run(hook, vector{in: remote(macR, 0, 10)}).out
			if got, want := be.Uint32(out[46:]), vni<<8; got != want {
				t.Errorf("%s: VNI field of %d: got %08x, want %08x", hook, vni, got, want)
			}
			if got := be.Uint32(out[42:]); got != vxlanI {
				t.Errorf("%s: flags: got %08x, want %08x", hook, got, vxlanI)
			}
		}
	}
}

// Every length that fits, over both families: the outer lengths say it, and
// what was inside is inside.
func TestEncapLengths(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		to             string
		outer, largest int
	}{{macR, 50, 1450}, {macR6, 70, 1430}} {
		for n := 20; n <= c.largest; n++ {
			in := eth(c.to, macA, 0x0800, ipv4(ip{src: ipA, dst: ipR, proto: 253}, fill(n-20)))
			for hook, p := range map[string]*ebpf.Program{"tc": w.tc.Programs["tc_endpoint"], "xdp": w.xdp.Programs["xdp_endpoint"]} {
				_, out, err := p.Test(in)
				if err != nil {
					t.Fatal(err)
				}
				udp := out[c.outer-16:]
				ipLen := be.Uint16(out[16:])
				if c.outer == 70 {
					ipLen = be.Uint16(out[18:]) + 40
				}
				if int(be.Uint16(udp[4:])) != len(in)+16 || int(ipLen) != len(in)+c.outer-14 || !bytes.Equal(out[c.outer:], in) {
					t.Fatalf("%s, %d bytes: UDP length %d, IP length %d, or another frame inside", hook, n, be.Uint16(udp[4:]), ipLen)
				}
			}
		}
	}
}

// The source port is one of the flow's own, and flows have many.
func TestSourcePortEntropy(t *testing.T) {
	w := newWorld(t)
	for _, hook := range []string{"tc", "xdp"} {
		ports := map[uint16]bool{}
		for flow := range uint16(1000) {
			in := eth(macR, macA, 0x0800, ipv4(ip{src: ipA, dst: ipR, proto: 17}, udp(1000+flow, 2000, fill(4))))
			first, second := w.port(hook, in), w.port(hook, in)
			if first != second {
				t.Fatalf("%s: one flow got ports %d and %d", hook, first, second)
			}
			if first < 49152 {
				t.Fatalf("%s: got port %d, want 49152 or more", hook, first)
			}
			ports[first] = true
		}
		if len(ports) < 200 {
			t.Errorf("%s: 1000 flows got %d ports, want at least 200", hook, len(ports))
		}
	}
}

func (w *world) port(hook string, in []byte) uint16 {
	return be.Uint16(w.run(hook, vector{name: "port", in: in}).out[34:])
}

func inside(dst string, tos byte, n int) []byte {
	return eth(dst, macR, 0x0800, ipv4(ip{src: ipR, dst: ipB, proto: 17, tos: tos}, udp(7, 8, fill(n))))
}

func inside6(dst string, tos byte, n int) []byte {
	return eth(dst, macR, 0x86dd, ipv6(ip{src: ip6R, dst: ip6B, proto: 17, tos: tos}, udp(7, 8, fill(n))))
}

func decapVectors() []vector {
	in := inside(macB, 0, 20)
	summed := overlay4(ip{}, vxlanI, 100, in)
	be.PutUint16(summed[40:], 0x1234)
	right := overlay4(ip{}, vxlanI, 100, in)
	be.PutUint16(right[40:], checksum(right[26:34], []byte{0, 17}, right[38:40], right[34:]))
	short := eth(macUp, macBelow, 0x0800, ipv4(ip{src: vtepR, dst: vtepUs, proto: 17}, udp(50000, 4789, fill(7))))
	other := func(dst string, port uint16) []byte {
		return eth(macUp, macBelow, 0x0800, ipv4(ip{src: vtepR, dst: dst, proto: 17}, udp(50000, port, vxlan(vxlanI, 100, in))))
	}
	v6 := func(dst string, proto byte, b []byte) []byte {
		return eth(macUp, macBelow, 0x86dd, ipv6(ip{src: vtep6R, dst: dst, proto: proto}, b))
	}
	later := eth(macUp, macBelow, 0x0800, ipv4(ip{src: vtepR, dst: vtepUs, proto: 17, frag: 3}, fill(40)))
	table := []vector{
		{name: "over IPv4", in: overlay4(ip{}, vxlanI, 100, in), want: "redirect decapsulated"},
		{name: "over IPv6", in: overlay6(ip{}, vxlanI, 100, inside6(macB, 0, 20)), want: "redirect decapsulated"},
		{name: "IPv6 over IPv4", in: overlay4(ip{}, vxlanI, 100, inside6(macB, 0, 20)), want: "redirect decapsulated"},
		{name: "IPv4 over IPv6", in: overlay6(ip{}, vxlanI, 100, in), want: "redirect decapsulated"},
		{name: "ARP over IPv4", in: overlay4(ip{}, vxlanI, 100, eth(macB, macR, 0x0806, arp(2, macR, ipR, macB, ipB))), want: "redirect decapsulated"},
		{name: "ARP over IPv6", in: overlay6(ip{}, vxlanI, 100, eth(macB, macR, 0x0806, arp(2, macR, ipR, macB, ipB))), want: "redirect decapsulated"},
		{name: "outer options", in: overlay4(ip{options: make([]byte, 8)}, vxlanI, 100, in), want: "redirect decapsulated"},
		{name: "other VNI", in: overlay4(ip{}, vxlanI, 200, in), want: "redirect decapsulated"},
		{name: "reserved bits", in: overlay4(ip{}, 0xffffffff, 100, in), want: "redirect decapsulated", kernel: byKernel},
		{name: "outer checksum, which is not looked at", in: summed, want: "redirect decapsulated", kernel: byKernel},
		{name: "outer checksum that comes out", in: right, want: "redirect decapsulated"},
		{name: "to an endpoint without XDP", in: overlay4(ip{}, vxlanI, 100, inside(macC, 0, 20)), want: "redirect decapsulated", xdp: "pass deferred"},
		{name: "larger than its receiver takes", in: overlay4(ip{}, vxlanI, 100, inside(macC, 0, 1400)), want: "drop too_big", xdp: "pass deferred"},
		{name: "no I flag", in: overlay4(ip{}, 0xf7ffffff, 100, in), want: "drop vxlan_flag", kernel: byKernel},
		{name: "VNI that is not here", in: overlay4(ip{}, vxlanI, 300, in), want: "drop vni_unknown"},
		{name: "VTEP that we do not know", in: overlay4(ip{src: "192.0.2.66"}, vxlanI, 100, in), want: "drop vtep_unknown"},
		{name: "VTEP that we do not know over IPv6", in: overlay6(ip{src: "2001:db8::66"}, vxlanI, 100, in), want: "drop vtep_unknown"},
		{name: "inner frame cut", in: overlay4(ip{}, vxlanI, 100, in[:13]), want: "drop runt", kernel: byKernel},
		{name: "inner packet cut", in: overlay4(ip{}, vxlanI, 100, in[:30]), want: "drop ipv4_header", kernel: byKernel},
		{name: "inner VLAN", in: overlay4(ip{}, vxlanI, 100, eth(macB, macR, 0x8100, fill(50))), want: "drop vlan"},
		{name: "VXLAN header cut", in: short, want: "drop vxlan_short", kernel: byKernel},
		{name: "nobody of that VNI here", in: overlay4(ip{}, vxlanI, 200, inside(macC, 0, 20)), want: "drop fdb_miss"},
		{name: "behind another VTEP", in: overlay4(ip{}, vxlanI, 100, inside(macR6, 0, 20)), want: "drop not_local"},
		{name: "blackholed", in: overlay4(ip{}, vxlanI, 100, inside(macHole, 0, 20)), want: "drop blackhole"},
		{name: "broadcast", in: overlay4(ip{}, vxlanI, 100, inside(allOnes, 0, 20)), want: "drop bum_off"},
		{name: "outer first fragment", in: overlay4(ip{frag: 0x2000}, vxlanI, 100, in), want: "drop outer_fragment", kernel: byKernel},
		{name: "outer later fragment", in: later, want: "pass not_ours", kernel: byKernel},
		{name: "to another address", in: other("192.0.2.77", 4789), want: "pass not_ours", kernel: byKernel},
		{name: "to another port", in: other(vtepUs, 8472), want: "pass not_ours", kernel: byKernel},
		{name: "no UDP", in: eth(macUp, macBelow, 0x0800, ipv4(ip{src: vtepR, dst: vtepUs, proto: 6}, tcp(1, 4789, nil))), want: "pass not_ours", kernel: byKernel},
		{name: "ARP of the underlay", in: eth(allOnes, macBelow, 0x0806, arp(1, macBelow, vtepR, zeroMAC, vtepUs)), want: "pass not_ours", kernel: byKernel},
		{name: "over IPv6, no I flag", in: overlay6(ip{}, 0, 100, in), want: "drop vxlan_flag", kernel: byKernel},
		{name: "over IPv6, VXLAN header cut", in: v6(vtep6Us, 17, udp(50000, 4789, fill(7))), want: "drop vxlan_short", kernel: byKernel},
		{name: "over IPv6, UDP header cut", in: v6(vtep6Us, 17, fill(7)), want: "pass not_ours", kernel: byKernel},
		{name: "over IPv6, to another address", in: v6("2001:db8::77", 17, udp(50000, 4789, vxlan(vxlanI, 100, in))), want: "pass not_ours", kernel: byKernel},
		{name: "over IPv6, behind extensions", in: v6(vtep6Us, 60, join([]byte{17, 0}, make([]byte, 6), udp(50000, 4789, vxlan(vxlanI, 100, in)))),
			want: "pass not_ours", kernel: "redirect decapsulated"},
		{name: "over IPv6, outer fragment", in: v6(vtep6Us, 44, join([]byte{17, 0, 0, 1, 0, 0, 0, 1}, udp(50000, 4789, vxlan(vxlanI, 100, in)))),
			want: "pass not_ours", kernel: byKernel},
		{name: "over IPv6, VNI that is not here", in: overlay6(ip{}, vxlanI, 300, in), want: "drop vni_unknown"},
		{name: "over IPv6, broadcast", in: overlay6(ip{}, vxlanI, 100, inside6(allOnes, 0, 20)), want: "drop bum_off"},
		{name: "no settings", in: overlay4(ip{}, vxlanI, 100, in), want: "pass not_ours", ep: func(_ *Endpoint, c *Config) { *c = Config{} }, kernel: "drop no_tunnel"},
		{name: "maps of another layout", in: overlay4(ip{}, vxlanI, 100, in), want: "pass not_ours", ep: func(_ *Endpoint, c *Config) { c.Abi++ }, kernel: "drop no_tunnel"},
	}
	table = append(table,
		vector{name: "segments of UDP", in: overlay4(ip{}, vxlanI, 100, inside(macB, 0, 1200)), want: "drop segments", gso: 600},
		vector{name: "outer segments merged", in: overlay4(ip{}, vxlanI, 100, join(eth(macB, macR, 0x0800,
			ipv4(ip{src: ipR, dst: ipB, proto: 6}, tcp(1, 2, fill(100)))), fill(170))), want: "drop segments", gso: 170})
	for i := range table {
		table[i].uplink = true
	}
	return table
}

func TestDecap(t *testing.T) { golden(t, "decap", decapVectors()) }

// RFC 6040, figure 4: what becomes of the inner field (row) under the outer
// one (column), and drop.
func TestECN(t *testing.T) {
	const drop = 9
	want := [4][4]byte{
		0: {0, 0, 0, drop},
		1: {1, 1, 1, 3},
		2: {2, 1, 2, 3},
		3: {3, 3, 3, 3},
	}
	w := newWorld(t)
	for inner := range byte(4) {
		for outer := range byte(4) {
			for what, in := range map[string][]byte{
				"ipv4":           overlay4(ip{tos: outer}, vxlanI, 100, inside(macB, 0xb8|inner, 9)),
				"ipv6":           overlay6(ip{tos: outer}, vxlanI, 100, inside6(macB, 0xb8|inner, 9)),
				"ipv6 over ipv4": overlay4(ip{tos: outer}, vxlanI, 100, inside6(macB, 0xb8|inner, 9)),
			} {
				for _, hook := range []string{"tc", "xdp"} {
					name := fmt.Sprintf("%s, %s, inner %d, outer %d", hook, what, inner, outer)
					w.checkECN(t, hook, vector{name: name, in: in, uplink: true}, inner, want[inner][outer])
				}
			}
		}
	}
}

func (w *world) checkECN(t *testing.T, hook string, v vector, inner, want byte) {
	t.Helper()
	r := w.run(hook, v)
	if want > 3 {
		if r.verdict != "drop ecn" {
			t.Errorf("%s: got %q, want %q", v.name, r.verdict, "drop ecn")
		}
		return
	}
	expected := inside(macB, 0xb8|want, 9)
	if r.out[12] == 0x86 {
		expected = inside6(macB, 0xb8|want, 9)
	}
	if r.verdict != "redirect decapsulated" || string(r.out) != string(expected) {
		t.Errorf("%s: got %s\n%swant\n%s", v.name, r.verdict, dump(r.out), dump(expected))
	}
}
