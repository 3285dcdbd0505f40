// SPDX-License-Identifier: Apache-2.0

package bpf

import "testing"

func TestPMTU(t *testing.T) {
	v4 := func(dst string, h ip, payload []byte) []byte {
		h.src = ipA
		h.dst = ipR
		return eth(dst, macA, 0x0800, ipv4(h, payload))
	}
	v6 := func(dst string, payload []byte) []byte {
		return eth(dst, macA, 0x86dd, ipv6(ip{src: ip6A, dst: ip6R, proto: 6}, payload))
	}
	const df = 0x4000
	golden(t, "pmtu", []vector{
		{name: "IPv4 over IPv4, one byte more", in: v4(macR, ip{proto: 6, frag: df}, tcp(1, 2, fill(1411))), want: "reply pmtu_ipv4"},
		{name: "IPv4 over IPv6", in: v4(macR6, ip{proto: 6, frag: df}, tcp(1, 2, fill(1391))), want: "reply pmtu_ipv4"},
		{name: "IPv6 over IPv4", in: v6(macR, tcp(1, 2, fill(1391))), want: "reply pmtu_ipv6"},
		{name: "IPv6 over IPv6", in: v6(macR6, tcp(1, 2, fill(1371))), want: "reply pmtu_ipv6"},
		{name: "IPv4 options", in: v4(macR, ip{proto: 17, frag: df, options: make([]byte, 40)}, udp(1, 2, fill(1400))), want: "reply pmtu_ipv4"},
		{name: "echo request", in: v4(macR, ip{proto: 1, frag: df}, icmp4(8, fill(1440))), want: "reply pmtu_ipv4"},
		{name: "an error, about which there is none", in: v4(macR, ip{proto: 1, frag: df}, icmp4(3, fill(1440))), want: "drop too_big"},
		{name: "may be fragmented, but not by us", in: v4(macR, ip{proto: 17}, udp(1, 2, fill(1440))), want: "drop too_big"},
		{name: "a later fragment", in: v4(macR, ip{proto: 17, frag: df | 3}, fill(1440)), want: "drop too_big"},
		{name: "IPv6 error", in: eth(macR, macA, 0x86dd, icmp6(ip{src: ip6A, dst: ip6R}, 1, fill(1420))), want: "drop too_big"},
		{name: "IPv6 echo", in: eth(macR, macA, 0x86dd, icmp6(ip{src: ip6A, dst: ip6R}, 128, fill(1420))), want: "reply pmtu_ipv6"},
		{name: "local, larger than its receiver takes", in: eth(macC, macA, 0x0800, ipv4(ip{src: ipA, dst: ipC, proto: 6, frag: df},
			tcp(1, 2, fill(1400)))), want: "reply pmtu_ipv4", xdp: "pass deferred"},
		{name: "segments that fit", in: v4(macC, ip{proto: 6, frag: df}, tcp(1, 2, fill(2600))), want: "redirect local", gso: 1360},
		{name: "segments that do not fit there", in: v4(macC, ip{proto: 6, frag: df}, tcp(1, 2, fill(2600))), want: "reply pmtu_ipv4", gso: 1361},
		{name: "segments that do not", in: v4(macR, ip{proto: 6, frag: df}, tcp(1, 2, fill(2600))), want: "reply pmtu_ipv4", gso: 1411},
		{name: "segments of more than 64 KiB, IPv4", in: long(v4(macC, ip{proto: 6, frag: df}, tcp(1, 2, fill(2600)))), want: "redirect local", gso: 1360},
		{name: "segments of more than 64 KiB, IPv6", in: long(v6(macC, jumbo())), want: "redirect local", gso: 1340},
		{name: "segments of more than 64 KiB that do not fit", in: long(v6(macC, jumbo())), want: "reply pmtu_ipv6", gso: 1341},
	})
}

// long is a frame as the kernel makes it of more than 64 KiB: no length in its
// header.
func long(frame []byte) []byte {
	at := 14 + 2 // total length of IPv4
	if be.Uint16(frame[12:]) == 0x86dd {
		at = 14 + 4     // payload length of IPv6
		frame[14+6] = 0 // hop-by-hop options are next
	}
	be.PutUint16(frame[at:], 0)
	return frame
}

// jumbo is TCP after the option that says how long it is, which segments will
// not have: they are 8 bytes shorter.
func jumbo() []byte {
	return join([]byte{6, 0, 0xc2, 4, 0, 1, 0x11, 0x70}, tcp(1, 2, fill(2600)))
}
