// SPDX-License-Identifier: Apache-2.0

package bpf

import "testing"

// chain is n hop-by-hop and destination option headers in front of a payload
// of protocol proto.
func chain(n int, proto byte, payload []byte) (first byte, b []byte) {
	b, first = payload, proto
	for range n {
		b, first = join([]byte{first, 0}, make([]byte, 6), b), 60
	}
	return first, b
}

func chained(n int, payload []byte) []byte {
	first, b := chain(n, 17, payload)
	return eth(macB, macA, 0x86dd, ipv6(ip{src: ip6A, dst: ip6B, proto: first}, b))
}

func TestParse(t *testing.T) {
	whole := eth(macB, macA, 0x0800, ipv4(ip{src: ipA, dst: ipB, proto: 17}, udp(1000, 2000, fill(20))))
	v6 := eth(macB, macA, 0x86dd, ipv6(ip{src: ip6A, dst: ip6B, proto: 6}, tcp(1000, 2000, fill(20))))
	bad := func(b []byte, at int, to byte) []byte {
		b = join(b)
		b[at] = to
		return b
	}
	golden(t, "parse", []vector{
		{name: "ipv4 udp", in: whole, want: "redirect local"},
		{name: "ipv6 tcp", in: v6, want: "redirect local"},
		{name: "ipv4 padded to the least that Ethernet sends", in: join(eth(macB, macA, 0x0800,
			ipv4(ip{src: ipA, dst: ipB, proto: 17}, udp(1, 2, nil))), make([]byte, 18)), want: "redirect local"},
		{name: "ipv4 options", in: eth(macB, macA, 0x0800, ipv4(ip{src: ipA, dst: ipB, proto: 17, options: make([]byte, 40)},
			udp(1, 2, fill(4)))), want: "redirect local"},
		{name: "ipv4 first fragment", in: eth(macB, macA, 0x0800, ipv4(ip{src: ipA, dst: ipB, proto: 17, frag: 0x2000},
			udp(1, 2, fill(8)))), want: "redirect local"},
		{name: "ipv4 middle fragment", in: eth(macB, macA, 0x0800, ipv4(ip{src: ipA, dst: ipB, proto: 17, frag: 0x2002}, fill(8))),
			want: "redirect local"},
		{name: "ipv4 last fragment", in: eth(macB, macA, 0x0800, ipv4(ip{src: ipA, dst: ipB, proto: 17, frag: 2}, fill(5))),
			want: "redirect local"},
		{name: "ipv4 with nothing behind it", in: eth(macB, macA, 0x0800, ipv4(ip{src: ipA, dst: ipB, proto: 253}, nil)),
			want: "redirect local"},
		{name: "ipv4 cut", in: whole[:33], want: "drop ipv4_header"},
		{name: "ipv4 longer than its frame", in: whole[:45], want: "drop ipv4_header"},
		{name: "ipv4 of version 5", in: bad(whole, 14, 0x55), want: "drop ipv4_header"},
		{name: "ipv4 header of 16 bytes", in: bad(whole, 14, 0x44), want: "drop ipv4_header"},
		{name: "ipv4 shorter than its header", in: bad(whole, 17, 19), want: "drop ipv4_header"},
		{name: "ipv4 options cut", in: eth(macB, macA, 0x0800, ipv4(ip{src: ipA, dst: ipB, proto: 17, options: make([]byte, 40)}, nil)[:20]),
			want: "drop ipv4_header"},
		{name: "udp cut", in: eth(macB, macA, 0x0800, ipv4(ip{src: ipA, dst: ipB, proto: 17}, fill(7))), want: "drop l4_header"},
		{name: "tcp cut", in: eth(macB, macA, 0x0800, ipv4(ip{src: ipA, dst: ipB, proto: 6}, fill(19))), want: "drop l4_header"},
		{name: "vlan", in: eth(macB, macA, 0x8100, join([]byte{0, 5, 8, 0}, whole[14:])), want: "drop vlan"},
		{name: "qinq", in: eth(macB, macA, 0x88a8, join([]byte{0, 5, 0x81, 0, 0, 6, 8, 0}, whole[14:])), want: "drop vlan"},
		{name: "lldp", in: eth("01:80:c2:00:00:0e", macA, 0x88cc, fill(50)), want: "drop ethertype"},
		{name: "ipv6 cut", in: v6[:53], want: "drop ipv6_header"},
		{name: "ipv6 longer than its frame", in: v6[:90], want: "drop ipv6_header"},
		{name: "ipv6 of version 4", in: bad(v6, 14, 0x40), want: "drop ipv6_header"},
		{name: "ipv6 one extension", in: chained(1, udp(1, 2, nil)), want: "redirect local"},
		{name: "ipv6 six extensions", in: chained(6, udp(1, 2, nil)), want: "redirect local"},
		{name: "ipv6 seven extensions", in: chained(7, udp(1, 2, nil)), want: "drop ipv6_chain"},
		{name: "ipv6 extension cut", in: eth(macB, macA, 0x86dd, ipv6(ip{src: ip6A, dst: ip6B, proto: 60}, []byte{17, 1, 0, 0, 0, 0, 0, 0})),
			want: "drop ipv6_header"},
		{name: "ipv6 later fragment", in: eth(macB, macA, 0x86dd, ipv6(ip{src: ip6A, dst: ip6B, proto: 44},
			join([]byte{17, 0, 0, 9, 0, 0, 0, 1}, fill(16)))), want: "redirect local"},
		{name: "ipv6 authenticated", in: eth(macB, macA, 0x86dd, ipv6(ip{src: ip6A, dst: ip6B, proto: 51},
			join([]byte{17, 4}, make([]byte, 22), udp(1, 2, nil)))), want: "redirect local"},
		{name: "bytes past the linear part of a page", in: eth(macB, macA, 0x0800, ipv4(ip{src: ipA, dst: ipB, proto: 6},
			tcp(1, 2, fill(3000)))), want: "redirect local"},
	})
}

// Every packet of these, cut off after each of its bytes, is dropped or sent
// on, and counted.
func TestTruncated(t *testing.T) {
	w := newWorld(t)
	for _, whole := range corpus() {
		for n := 14; n <= min(len(whole.in), 160); n++ {
			v := whole
			v.in = whole.in[:n]
			w.run("tc", v)
			w.run("xdp", v)
		}
	}
}
