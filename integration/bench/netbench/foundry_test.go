// SPDX-License-Identifier: Apache-2.0

package netbench

import (
	"net"
	"net/netip"
	"path/filepath"
	"testing"

	"foundry/bpf"
	"foundry/datapath"
	"foundry/datapath/veth"
)

const network = 100 // the VNI

// host is a place with a data plane.
type host struct {
	place
	dir   string
	dp    *datapath.Datapath
	state datapath.State
}

func newHost(b *testing.B, dir string, fdb int) *host {
	b.Helper()
	h := &host{place: newPlace(b), dir: dir, state: datapath.State{Networks: []datapath.Network{{VNI: network}}}}
	h.in("open data plane", func() (err error) {
		h.dp, err = datapath.Open(datapath.Config{Dir: dir, MaxFDB: fdb})
		return err
	})
	b.Cleanup(func() {
		h.dp.Close()
		if err := datapath.Purge(dir); err != nil {
			b.Error(err)
		}
	})
	return h
}

// container is one of the two, on a host.
type container struct {
	place
	name, mac, addr string
	ifindex         int // of the host's end
}

// attach makes a container on a host, which may send frames of so many bytes.
func (h *host) attach(c *container, mtu, gso int, xdp bool) {
	h.Helper()
	hw, err := net.ParseMAC(c.mac)
	if err != nil {
		h.Fatal(err)
	}
	ip := netip.MustParseAddr(c.addr)
	p, err := veth.Create(veth.Config{Name: c.name, Host: h.NS, NS: c.NS, MAC: [6]byte(hw), MTU: mtu, GSO: gso, XDP: xdp,
		Addrs: []netip.Prefix{netip.PrefixFrom(ip, 24)}})
	if err != nil {
		h.Fatal(err)
	}
	c.ifindex = p.Ifindex
	h.state.Endpoints = append(h.state.Endpoints, datapath.Endpoint{Ifindex: p.Ifindex, VNI: network, MAC: p.MAC,
		Addrs: []netip.Addr{ip}, MTU: mtu, XDP: xdp})
}

func (h *host) set() {
	h.Helper()
	h.in("set data plane", func() error {
		_, err := h.dp.Set(h.state)
		return err
	})
}

// knows tells a host of the other, and of the container there.
func (h *host) knows(other *host, ours, theirs string) {
	h.Helper()
	there := netip.MustParseAddr(theirs)
	up, down := h.device("up0"), other.device("up0")
	h.state.Underlay.Ifindex, h.state.Underlay.IPv4 = up.Index, netip.MustParseAddr(ours)
	h.state.Peers = []datapath.Peer{{IP: there, NextHop: datapath.MAC(down.HardwareAddr), Local: datapath.MAC(up.HardwareAddr), MTU: wireMTU}}
	for _, e := range other.state.Endpoints {
		h.state.Remotes = append(h.state.Remotes, datapath.Remote{VNI: e.VNI, MAC: e.MAC, Addrs: e.Addrs, Peer: there})
	}
}

func pair(b *testing.B) (*container, *container) {
	return &container{newPlace(b), "port-a", macA, addrA, 0}, &container{newPlace(b), "port-b", macB, addrB, 0}
}

// local has both on one host.
func local(b *testing.B, mount, name string) way {
	b.Helper()
	h := newHost(b, filepath.Join(mount, name), 0)
	one, two := pair(b)
	gso := veth.MostGSO // as Control has it where nothing leaves the host
	if name == WaySmall {
		gso = 0
	}
	h.attach(one, wireMTU, gso, name == WayXDP)
	h.attach(two, wireMTU, gso, name == WayXDP)
	h.set()
	return way{name, one.place, two.place}
}

// twoHosts has a wire between them.
func twoHosts(b *testing.B, mount, name string) way {
	b.Helper()
	one, two := newHost(b, filepath.Join(mount, name, "1"), 0), newHost(b, filepath.Join(mount, name, "2"), 0)
	wire(one.place, two.place)
	ca, cb := pair(b)
	gso := 0
	if name == WayBigHosts {
		gso = veth.MostGSO
		widen(one.place, gso)
		widen(two.place, gso)
	}
	one.attach(ca, tunnelMTU, gso, name == WayXDPHosts)
	two.attach(cb, tunnelMTU, gso, name == WayXDPHosts)
	one.knows(two, hostOne, hostTwo)
	two.knows(one, hostTwo, hostOne)
	for _, h := range []*host{one, two} {
		h.underlay(name)
		h.set()
	}
	return way{name, ca.place, cb.place}
}

// widen has the wire take larger frames of many segments.
func widen(p place, size int) {
	p.Helper()
	if err := veth.SetGSO(p.NS, "up0", size+bpf.Overhead6); err != nil {
		p.Fatal(err)
	}
}

// underlay chooses who makes outer headers.
func (h *host) underlay(name string) {
	h.Helper()
	u := &h.state.Underlay
	switch name {
	case WayXDPHosts:
		u.XDP = true
	case WayKernelHosts:
		u.Encap = datapath.EncapKernel
		h.in("make tunnel device", func() (err error) {
			u.Tunnel, err = veth.CollectMD("fvx", 4789)
			return err
		})
	}
}
