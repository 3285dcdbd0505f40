// SPDX-License-Identifier: Apache-2.0

package net

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"foundry/bpf"
	"foundry/datapath"
	"foundry/datapath/veth"
)

const narrow = 1400 // MTU of the way behind the router

// newRouted makes two hosts with a router between them, the second behind a
// narrower wire.
func newRouted(t *testing.T, w wire) (*fabric, *veth.NS) {
	t.Helper()
	f := newHosts(t, 2, w)
	router := newNS(t)
	f.pair(f.hosts[0].ns, "up0", router, "r0")
	f.pair(f.hosts[1].ns, "up0", router, "r1")
	ipIn(t, router, fmt.Sprintf("link set r1 mtu %d", narrow))
	if w.untold {
		ipIn(t, f.hosts[1].ns, fmt.Sprintf("link set up0 mtu %d", narrow))
	}
	err := router.Do(func() error {
		return errors.Join(os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0),
			os.WriteFile("/proc/sys/net/ipv6/conf/all/forwarding", []byte("1"), 0))
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, h := range f.hosts {
		ours, theirs := netip.MustParsePrefix(fmt.Sprintf("192.0.%d.1/24", i+2)), netip.MustParsePrefix(fmt.Sprintf("192.0.%d.254/24", i+2))
		if w.v6 {
			ours, theirs = netip.MustParsePrefix(fmt.Sprintf("2001:db8:%d::1/64", i)), netip.MustParsePrefix(fmt.Sprintf("2001:db8:%d::ff/64", i))
		}
		port := fmt.Sprint("r", i)
		ipIn(t, router, "addr add "+theirs.String()+" dev "+port+nodad(theirs.Addr()))
		h.uplink("up0", ours)
		route := "route add default via " + theirs.Addr().String()
		switch {
		case f.untold: // only the router knows
		case f.control:
			route += fmt.Sprint(" mtu ", narrow) // records follow the route
		default:
			h.pathMTU = narrow
		}
		ipIn(t, h.ns, route)
		ipIn(t, router, fmt.Sprintf("neigh replace %v dev %s lladdr %v nud permanent", h.ip, port, h.up.HardwareAddr))
		h.nextHop[f.hosts[1-i]] = datapath.MAC(device(t, router, port).HardwareAddr)
	}
	f.sync()
	return f, router
}

// A host behind a router whose other wire is narrower than ours, and
// containers that do not know: they are told, and go on.
func TestNarrowPath(t *testing.T) {
	for _, c := range some([]struct {
		wire
		xdp bool // containers
	}{{wire{}, false}, {wire{control: true}, true}, {wire{}, true}, {wire{v6: true}, false}, {wire{v6: true}, true},
		{wire{kernel: true}, false}, {wire{v6: true, kernel: true}, true},
		{wire{control: true, untold: true}, false}, {wire{control: true, untold: true, v6: true}, false}}) {
		t.Run(fmt.Sprintf("%v, containers of XDP %v", c.wire, c.xdp), func(t *testing.T) {
			f, router := newRouted(t, c.wire)
			mtu := 1500
			if c.control {
				mtu = 0 // more than the uplink carries is refused
			}
			a := f.hosts[0].container(place{vni: 100, n: 1, mtu: mtu, xdp: c.xdp})
			b := f.hosts[1].container(place{vni: 100, n: 2, mtu: mtu, xdp: c.xdp})
			fits := narrow - bpf.Overhead4
			if c.v6 {
				fits = narrow - bpf.Overhead6
			}
			a.streams(b, b.ip4, few) // TCP finds out by itself, with bytes on their way
			b.streams(a, a.ip6, few)
			a.learns(b, fits)
			b.learns(a, fits)
			f.exchange(a, b, few)
			f.intact()
			f.settled()
			f.drops()
			f.told(c.untold)
			if c.untold {
				return // by losing something
			}
			// What the router had to refuse was lost on the wire.
			for name, n := range snmp(f, router) {
				if n != 0 && (name == "Ip.FragFails" || name == "Ip6FragFails" || name == "Ip6InTooBigErrors") {
					t.Errorf("router: %s: got %d, want 0", name, n)
				}
			}
		})
	}
}

// learns: a datagram that is not to be cut up and does not fit comes back as
// an error that says what does.
func (c *container) learns(to *container, want int) {
	c.h.f.Helper()
	for _, ip := range to.addrs() {
		c.h.f.eventually(fmt.Sprintf("%v learns that %d bytes fit to %v", c, want, ip), func() bool {
			got, err := pathMTU(c.ns, ip, c.mtu)
			if err != nil {
				c.h.f.Fatalf("send datagram %v -> %v: %v", c, ip, err)
			}
			return got == want
		})
	}
}

// pathMTU sends a datagram that fills an MTU and returns what the kernel has
// learnt of the path.
func pathMTU(ns *veth.NS, ip netip.Addr, mtu int) (got int, err error) {
	conn, err := in(ns, func() (net.Conn, error) { return net.Dial("udp", netip.AddrPortFrom(ip, 9).String()) })
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	raw, err := conn.(*net.UDPConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	level, discover, option, header := unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_MTU, 28
	if ip.Is6() {
		level, discover, option, header = unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_MTU, 48
	}
	failed := raw.Control(func(fd uintptr) {
		if err = unix.SetsockoptInt(int(fd), level, discover, unix.IP_PMTUDISC_DO); err != nil {
			return
		}
		// EMSGSIZE, an error that came earlier, nobody listening: all of it is as it should be.
		_, _ = unix.Write(int(fd), make([]byte, mtu-header))
		got, err = unix.GetsockoptInt(int(fd), level, option)
	})
	return got, errors.Join(failed, err)
}

// told wants each host to have answered packets of both families with what
// fits, or the first alone: who is behind the narrow wire sees it by himself.
func (f *fabric) told(first bool) {
	f.Helper()
	for i, h := range f.hosts {
		if first && i > 0 {
			break
		}
		got := map[string]uint64{}
		for c, n := range h.counted() {
			if c.action == "reply" {
				got[c.reason] += n
			}
		}
		if got["pmtu_ipv4"] == 0 || got["pmtu_ipv6"] == 0 {
			f.Errorf("%s: answers: got %v, want pmtu_ipv4 and pmtu_ipv6 among them", h.name, got)
		}
	}
}
