// SPDX-License-Identifier: Apache-2.0

package netbench

import (
	"fmt"
	"testing"
)

// The two containers of every way.
const (
	addrA, addrB = "10.0.0.1", "10.0.0.2"
	macA, macB   = "02:00:00:00:00:0a", "02:00:00:00:00:0b"
	wireMTU      = 1500
	tunnelMTU    = 1450 // what VXLAN over IPv4 leaves
)

// way is two containers and what is between them.
type way struct {
	name string
	a, b place
}

// newWays makes all of them.
func newWays(b *testing.B, mount string) []way {
	b.Helper()
	return []way{
		vethPair(b), bridge(b), bridgeVXLAN(b),
		local(b, mount, WayTCX), local(b, mount, WaySmall), local(b, mount, WayXDP),
		twoHosts(b, mount, WayTCXHosts), twoHosts(b, mount, WayBigHosts), twoHosts(b, mount, WayKernelHosts), twoHosts(b, mount, WayXDPHosts),
	}
}

// vethPair connects them directly.
func vethPair(b *testing.B) way {
	w := way{WayVeth, newPlace(b), newPlace(b)}
	w.a.ip(fmt.Sprintf("link add eth0 mtu %d type veth peer name eth0 netns %s", wireMTU, w.b.path()))
	w.a.ip("addr add "+addrA+"/24 dev eth0", "link set eth0 up")
	w.b.ip("addr add "+addrB+"/24 dev eth0", "link set eth0 up")
	return w
}

// bridge is what CNI's plugin and Docker make on one host.
func bridge(b *testing.B) way {
	w := way{WayBridge, newPlace(b), newPlace(b)}
	host := newPlace(b)
	host.ip("link add br0 up type bridge")
	host.plug(w.a, "port-a", addrA, wireMTU)
	host.plug(w.b, "port-b", addrB, wireMTU)
	return w
}

// plug connects a container to the bridge of a host.
func (p place) plug(c place, name, address string, mtu int) {
	p.Helper()
	p.ip(fmt.Sprintf("link add %s mtu %d type veth peer name eth0 mtu %d netns %s", name, mtu, mtu, c.path()),
		"link set "+name+" up master br0")
	c.ip("addr add "+address+"/24 dev eth0", "link set eth0 up")
}

// bridgeVXLAN is the kernel's way between two hosts.
func bridgeVXLAN(b *testing.B) way {
	w := way{WayVXLAN, newPlace(b), newPlace(b)}
	one, two := newPlace(b), newPlace(b)
	wire(one, two)
	for _, h := range []struct {
		host, c                place
		name, addr, ours, them string
	}{{one, w.a, "port-a", addrA, hostOne, hostTwo}, {two, w.b, "port-b", addrB, hostTwo, hostOne}} {
		h.host.ip("link add br0 up type bridge",
			fmt.Sprintf("link add vx mtu %d type vxlan id 100 dstport 4789 local %s remote %s dev up0 nolearning noudpcsum", tunnelMTU, h.ours, h.them),
			"link set vx up master br0")
		h.host.plug(h.c, h.name, h.addr, tunnelMTU)
	}
	return w
}

const hostOne, hostTwo = "192.0.2.1", "192.0.2.2"

// wire connects two hosts.
func wire(one, two place) {
	one.Helper()
	const queues = "numtxqueues 2 numrxqueues 2"
	one.ip(fmt.Sprintf("link add up0 mtu %d %s type veth peer name up0 mtu %d %s netns %s", wireMTU, queues, wireMTU, queues, two.path()))
	one.ip("addr add "+hostOne+"/24 dev up0", "link set up0 up")
	two.ip("addr add "+hostTwo+"/24 dev up0", "link set up0 up")
}
