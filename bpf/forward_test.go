// SPDX-License-Identifier: Apache-2.0

package bpf

import "testing"

func to(m string) []byte {
	return eth(m, macA, 0x0800, ipv4(ip{src: ipA, dst: ipB, proto: 1}, icmp4(8, fill(16))))
}

func TestForward(t *testing.T) {
	golden(t, "forward", []vector{
		{name: "local", in: to(macB), want: "redirect local"},
		{name: "local, no XDP there", in: to(macC), want: "redirect local", xdp: "pass deferred"},
		{name: "local, the same MAC in another VNI", in: to(macB), want: "redirect local",
			ep: func(e *Endpoint, _ *Config) { e.Vni = 200 }},
		{name: "in another VNI only", in: to(macR), want: "drop fdb_miss", ep: func(e *Endpoint, _ *Config) { e.Vni = 200 }},
		{name: "in the device map no longer", in: to(macLost), want: "redirect local", xdp: "drop no_device"},
		{name: "itself", in: to(macA), want: "drop self"},
		{name: "unknown", in: to(macNone), want: "drop fdb_miss"},
		{name: "blackhole", in: to(macHole), want: "drop blackhole"},
		{name: "gateway", in: to(macGW), want: "pass gateway"},
		{name: "VTEP down", in: to(macDown), want: "drop vtep_down"},
		{name: "VTEP gone", in: to(macGone), want: "drop vtep_unknown"},
		{name: "broadcast", in: to(allOnes), want: "drop bum_off"},
		{name: "multicast", in: to("01:00:5e:00:00:fb"), want: "drop bum_off"},
		{name: "remote, no XDP on the uplink", in: to(macR), want: "redirect remote", xdp: "pass deferred",
			ep: func(_ *Endpoint, c *Config) { c.Flags = 0 }},
	})
}

// A device that is nobody's gets nothing through.
func TestNoEndpoint(t *testing.T) {
	w := newWorld(t)
	if err := w.tc.Maps["ep_by_ifindex"].Delete(uint32(lo)); err != nil {
		t.Fatal(err)
	}
	for _, hook := range []string{"tc", "xdp"} {
		if got := w.run(hook, vector{in: to(macB)}).verdict; got != "drop no_endpoint" {
			t.Errorf("%s: got %q, want %q", hook, got, "drop no_endpoint")
		}
	}
}

func TestSpoof(t *testing.T) {
	v4 := func(src string, proto byte, payload []byte) []byte {
		return eth(macB, macA, 0x0800, ipv4(ip{src: src, dst: ipB, proto: proto}, payload))
	}
	v6 := func(src string, proto byte, payload []byte) []byte {
		return eth(macB, macA, 0x86dd, ipv6(ip{src: src, dst: ip6B, proto: proto}, payload))
	}
	trusted := func(e *Endpoint, _ *Config) { e.Flags = TCEndpointFlagEP_NO_SPOOF }
	all := "33:33:00:00:00:01"
	ra := icmp6(ip{src: ip6Link, dst: "ff02::1", ttl: 255}, 134, fill(12))
	_, hidden := chain(2, 58, ra[40:])
	fragment := join([]byte{58, 0, 0, 1, 0, 0, 0, 1}, ra[40:])
	golden(t, "spoof", []vector{
		{name: "source MAC", in: eth(macB, macC, 0x0800, ipv4(ip{src: ipA, dst: ipB, proto: 253}, nil)), want: "drop spoof_mac"},
		{name: "source IPv4 of another", in: v4(ipC, 17, udp(1, 2, nil)), want: "drop spoof_ipv4"},
		{name: "source IPv4 of nobody", in: v4("10.9.9.9", 17, udp(1, 2, nil)), want: "drop spoof_ipv4"},
		{name: "second IPv4 address", in: v4(ipA2, 17, udp(1, 2, nil)), want: "redirect local"},
		{name: "0.0.0.0", in: v4("0.0.0.0", 17, udp(1, 2, nil)), want: "drop spoof_ipv4"},
		{name: "0.0.0.0 of an endpoint without IPv4", in: v4("0.0.0.0", 17, udp(1, 2, nil)), want: "drop spoof_ipv4",
			ep: func(e *Endpoint, _ *Config) { e.Ip4 = 0 }},
		{name: "DHCP client", in: eth(allOnes, macA, 0x0800, ipv4(ip{src: "0.0.0.0", dst: "255.255.255.255", proto: 17},
			udp(68, 67, fill(200)))), want: "drop bum_off"},
		{name: "DHCP server", in: v4(ipA, 17, udp(67, 68, fill(200))), want: "drop rogue_dhcp"},
		{name: "DHCPv6 server", in: v6(ip6A, 17, udp(547, 546, fill(60))), want: "drop rogue_dhcp"},
		{name: "source IPv6 of another", in: v6(ip6B, 17, udp(1, 2, nil)), want: "drop spoof_ipv6"},
		{name: "source IPv6 link-local", in: v6(ip6Link, 17, udp(1, 2, nil)), want: "redirect local"},
		{name: "source IPv6 link-local of another", in: v6("fe80::ff:fe00:b", 17, udp(1, 2, nil)), want: "drop spoof_ipv6"},
		{name: "::", in: v6("::", 17, udp(1, 2, nil)), want: "drop spoof_ipv6"},
		{name: "router advertisement", in: eth(all, macA, 0x86dd, ra), want: "drop rogue_ra"},
		{name: "router advertisement behind extensions", in: eth(all, macA, 0x86dd,
			ipv6(ip{src: ip6Link, dst: "ff02::1", proto: 60, ttl: 255}, hidden)), want: "drop rogue_ra"},
		{name: "router advertisement in a fragment", in: eth(all, macA, 0x86dd,
			ipv6(ip{src: ip6Link, dst: "ff02::1", proto: 44, ttl: 255}, fragment)), want: "drop rogue_ra"},
		{name: "solicitation in a fragment", in: eth(all, macA, 0x86dd, ipv6(ip{src: ip6A, dst: ip6B, proto: 44, ttl: 255},
			join([]byte{58, 0, 0, 1, 0, 0, 0, 1}, nd(ip{src: ip6A, dst: ip6B}, 135, 0, ip6B)[40:]))), want: "drop nd_fragment"},
		{name: "redirect", in: v6(ip6A, 58, icmp6(ip{src: ip6A, dst: ip6B}, 137, fill(36))[40:]), want: "drop rogue_ra"},
		{name: "router solicitation from ::", in: eth("33:33:00:00:00:02", macA, 0x86dd,
			icmp6(ip{src: "::", dst: "ff02::2", ttl: 255}, 133, fill(4))), want: "drop bum_off"},
		{name: "trusted: another's MAC and address", in: eth(macB, macC, 0x0800, ipv4(ip{src: ipC, dst: ipB, proto: 253}, nil)),
			want: "redirect local", ep: trusted},
		{name: "trusted: DHCP server", in: v4(ipA, 17, udp(67, 68, nil)), want: "redirect local", ep: trusted},
	})
}
