// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"fmt"
	"slices"
	"syscall"
	"testing"
)

func arpFrame(dst string, body []byte) []byte { return eth(dst, macA, 0x0806, body) }

func TestARP(t *testing.T) {
	padded := join(arpFrame(allOnes, arp(1, macA, ipA, zeroMAC, ipB)), make([]byte, 18))
	wrong := arp(1, macA, ipA, zeroMAC, ipB)
	wrong[1] = 6
	trusted := func(e *Endpoint, _ *Config) { e.Flags = TCEndpointFlagEP_NO_SPOOF }
	golden(t, "arp", []vector{
		{name: "request", in: arpFrame(allOnes, arp(1, macA, ipA, zeroMAC, ipB)), want: "reply arp_reply"},
		{name: "request, padded", in: padded, want: "reply arp_reply"},
		{name: "request for who is remote", in: arpFrame(allOnes, arp(1, macA, ipA, zeroMAC, ipR)), want: "reply arp_reply"},
		{name: "request for the gateway", in: arpFrame(allOnes, arp(1, macA, ipA, zeroMAC, ipGW)), want: "reply arp_reply"},
		{name: "request from a second address", in: arpFrame(allOnes, arp(1, macA, ipA2, zeroMAC, ipB)), want: "reply arp_reply"},
		{name: "refresh by unicast", in: arpFrame(macB, arp(1, macA, ipA, macB, ipB)), want: "reply arp_reply"},
		{name: "request for nobody", in: arpFrame(allOnes, arp(1, macA, ipA, zeroMAC, "10.0.0.77")), want: "drop arp_unknown"},
		{name: "request in another VNI", in: arpFrame(allOnes, arp(1, macA, ipA, zeroMAC, ipB)), want: "drop arp_unknown",
			ep: func(e *Endpoint, _ *Config) { e.Vni = 200 }},
		{name: "probe for its own address", in: arpFrame(allOnes, arp(1, macA, "0.0.0.0", zeroMAC, ipA)), want: "drop own_probe"},
		{name: "probe for another's address", in: arpFrame(allOnes, arp(1, macA, "0.0.0.0", zeroMAC, ipB)), want: "reply arp_reply"},
		{name: "gratuitous request", in: arpFrame(allOnes, arp(1, macA, ipA, zeroMAC, ipA)), want: "drop announcement"},
		{name: "gratuitous reply", in: arpFrame(allOnes, arp(2, macA, ipA, allOnes, ipA)), want: "drop announcement"},
		{name: "reply by unicast", in: arpFrame(macB, arp(2, macA, ipA, macB, ipB)), want: "redirect local"},
		{name: "sender's MAC of another", in: arpFrame(allOnes, arp(1, macC, ipA, zeroMAC, ipB)), want: "drop spoof_arp"},
		{name: "sender's address of another", in: arpFrame(allOnes, arp(1, macA, ipC, zeroMAC, ipB)), want: "drop spoof_arp"},
		{name: "gratuitous for another's address", in: arpFrame(allOnes, arp(1, macA, ipC, zeroMAC, ipC)), want: "drop spoof_arp"},
		{name: "reply from 0.0.0.0", in: arpFrame(macB, arp(2, macA, "0.0.0.0", macB, ipB)), want: "drop spoof_arp"},
		{name: "Ethernet source of another", in: eth(allOnes, macC, 0x0806, arp(1, macA, ipA, zeroMAC, ipB)), want: "drop spoof_mac"},
		{name: "trusted: another's address", in: arpFrame(allOnes, arp(1, macA, ipC, zeroMAC, ipB)), want: "reply arp_reply", ep: trusted},
		{name: "other hardware", in: arpFrame(allOnes, wrong), want: "drop arp_malformed"},
		{name: "inverse", in: arpFrame(allOnes, arp(8, macA, ipA, zeroMAC, ipB)), want: "drop arp_malformed"},
		{name: "cut", in: arpFrame(allOnes, arp(1, macA, ipA, zeroMAC, ipB)[:27]), want: "drop arp_malformed"},
	})
}

func TestND(t *testing.T) {
	node := "ff02::1:ff00:2"
	frame := func(dst string, b []byte) []byte { return eth(dst, macA, 0x86dd, b) }
	ask := func(target string, options ...[]byte) []byte {
		return frame("33:33:ff:00:00:02", nd(ip{src: ip6A, dst: node}, 135, 0, target, options...))
	}
	dad := func(target string, options ...[]byte) []byte {
		return frame("33:33:ff:00:00:02", nd(ip{src: "::", dst: node}, 135, 0, target, options...))
	}
	slla := lladdr(1, macA)
	nonce := []byte{14, 1, 1, 2, 3, 4, 5, 6}
	golden(t, "nd", []vector{
		{name: "solicitation", in: ask(ip6B, slla), want: "reply nd_reply"},
		{name: "solicitation without an address option", in: ask(ip6B), want: "reply nd_reply"},
		{name: "solicitation from link-local", in: frame("33:33:ff:00:00:02", nd(ip{src: ip6Link, dst: node}, 135, 0, ip6B, slla)),
			want: "reply nd_reply"},
		{name: "solicitation for who is remote", in: ask(ip6R, slla), want: "reply nd_reply"},
		{name: "solicitation for the gateway", in: ask(ip6GW, slla), want: "reply nd_reply"},
		{name: "refresh by unicast", in: frame(macB, nd(ip{src: ip6A, dst: ip6B}, 135, 0, ip6B, slla)), want: "reply nd_reply"},
		{name: "solicitation for nobody", in: ask("fd00::77", slla), want: "drop nd_unknown"},
		{name: "duplicate address detection, own", in: dad(ip6A, nonce), want: "drop own_probe"},
		{name: "duplicate address detection, own link-local", in: dad(ip6Link, nonce), want: "drop own_probe"},
		{name: "duplicate address detection, another's", in: dad(ip6B, nonce), want: "reply nd_reply"},
		{name: "duplicate address detection without nonce", in: dad(ip6B), want: "reply nd_reply"},
		{name: "source of another", in: frame("33:33:ff:00:00:02", nd(ip{src: ip6B, dst: node}, 135, 0, ip6R, slla)), want: "drop spoof_ipv6"},
		{name: "address option of another", in: ask(ip6B, lladdr(1, macC)), want: "drop spoof_nd"},
		{name: "second address option of another", in: ask(ip6B, slla, lladdr(1, macC)), want: "drop spoof_nd"},
		{name: "hop limit below 255", in: frame("33:33:ff:00:00:02", nd(ip{src: ip6A, dst: node, ttl: 254}, 135, 0, ip6B, slla)),
			want: "drop nd_malformed"},
		{name: "option of no length", in: ask(ip6B, []byte{1, 0, 0, 0, 0, 0, 0, 0}), want: "drop nd_malformed"},
		{name: "option longer than the packet", in: ask(ip6B, []byte{14, 2, 0, 0, 0, 0, 0, 0}), want: "drop nd_malformed"},
		{name: "more options than anybody sends", in: ask(ip6B, nonce, nonce, nonce, nonce, nonce), want: "drop nd_malformed"},
		{name: "checksum wrong", in: summed(ask(ip6B, slla), 0x1234), want: "drop nd_checksum"},
		{name: "checksum zero", in: summed(ask(ip6B, slla), 0), want: "drop nd_checksum"},
		{name: "checksum left to a NIC", in: summed(ask(ip6B, slla), ^checksum(pseudo(ip6A, node, 58, 32))), want: "reply nd_reply"},
		{name: "advertisement, checksum wrong", in: summed(frame(macB, nd(ip{src: ip6A, dst: ip6B}, 136, 0x60, ip6A, lladdr(2, macA))), 1),
			want: "drop nd_checksum"},
		{name: "no multiple of 8 bytes", in: ask(ip6B, slla, make([]byte, 4)), want: "drop nd_malformed"},
		{name: "longer than anybody sends", in: ask(ip6B, slla, join([]byte{14, 13}, make([]byte, 102))), want: "drop nd_malformed"},
		{name: "multicast target", in: ask("ff02::1", slla), want: "drop nd_malformed"},
		{name: "cut", in: frame(macB, icmp6(ip{src: ip6A, dst: ip6B, ttl: 255}, 135, fill(19))), want: "drop nd_malformed"},
		{name: "advertisement", in: frame(macB, nd(ip{src: ip6A, dst: ip6B}, 136, 0x60, ip6A, lladdr(2, macA))), want: "redirect local"},
		{name: "advertisement for another", in: frame(macB, nd(ip{src: ip6A, dst: ip6B}, 136, 0x60, ip6R, lladdr(2, macA))),
			want: "drop spoof_nd"},
		{name: "advertisement with another's MAC", in: frame(macB, nd(ip{src: ip6A, dst: ip6B}, 136, 0x60, ip6A, lladdr(2, macC))),
			want: "drop spoof_nd"},
		{name: "unsolicited advertisement", in: frame("33:33:00:00:00:01", nd(ip{src: ip6A, dst: "ff02::1"}, 136, 0x20, ip6A, lladdr(2, macA))),
			want: "drop announcement"},
	})
}

// hidden is an advertisement for another 4096 bytes behind one that may be
// sent, whose options reach to the end.
func hidden() []byte {
	h := ip{src: ip6A, dst: ip6B, ttl: 255}
	fair, foul := nd(h, 136, 0x60, ip6A, lladdr(2, macA))[40:], nd(h, 136, 0x60, "fd00::e02:0:0:11", lladdr(2, macC))[40:]
	b := join([]byte{60, 255}, make([]byte, 2046), []byte{60, 255}, make([]byte, 2046), []byte{58, 0}, make([]byte, 6), foul)
	for at, what := range map[int][]byte{8: fair, 40: {14, 255}, 2080: {14, 255}} { // and 14, 2 in the address
		copy(b[at:], what)
	}
	h.proto = 60
	return ipv6(h, b)
}

// Nobody hides one behind more headers than the programs look past. Longer
// than a page, it is too much for a test run, and only a raw socket of IPv6
// has it in one piece.
func TestHiddenAdvertisement(t *testing.T) {
	w := newWorld(t)
	a := w.attach(t, endpoint(21, macA, ipA, ip6A), false, 9000, ip6A+"/64")
	a.do("ip -6 neigh add " + ip6B + " lladdr " + macB + " dev eth0")
	w.endpoints()
	a.peer("hide " + ip6B)
	want := fmt.Sprintf("from 21: drop nd_malformed, 1 frames, %d bytes", 14+len(hidden()))
	if got := w.endpoints(); !slices.Contains(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// hide sends it.
func hide(to string) error {
	s, err := syscall.Socket(syscall.AF_INET6, syscall.SOCK_RAW, syscall.IPPROTO_RAW)
	if err != nil {
		return err
	}
	defer syscall.Close(s)
	return syscall.Sendto(s, hidden(), 0, &syscall.SockaddrInet6{Addr: addr(to).As16()})
}

// summed is an ND message with another checksum.
func summed(frame []byte, sum uint16) []byte {
	be.PutUint16(frame[56:], sum)
	return frame
}

// A link-local address of no endpoint is nobody's.
func TestProbeOfForeignLinkLocal(t *testing.T) {
	w := newWorld(t)
	in := eth("33:33:ff:00:00:02", macA, 0x86dd, nd(ip{src: "::", dst: "ff02::1:ff00:2"}, 135, 0, "fe80::2"))
	for _, hook := range []string{"tc", "xdp"} {
		if got := w.run(hook, vector{in: in}).verdict; got != "drop nd_unknown" {
			t.Errorf("%s: got %q, want %q", hook, got, "drop nd_unknown")
		}
	}
}
