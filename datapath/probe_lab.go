// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"foundry/bpf"
	"foundry/datapath/veth"
)

// lab is what a probe is made in: two hosts and a wire between them, which is
// a namespace of its own that sends what comes in at one end out of the
// other, and on each host a container.
//
//	container 0 -- host 0 -- wire -- host 1 -- container 1
type lab struct {
	ipv6   bool
	clsact bool
	sides  [2]*side
	undo   []func() error
}

// side is a host with its container. up is the pair to the wire, whose end
// here is PeerIfindex; port is the pair to the container.
type side struct {
	host, inside *veth.NS
	up, port     veth.Pair
	maps         *ebpf.Collection
	number       byte
}

func (s *side) vtep(family int) netip.Addr {
	if family == 4 {
		return netip.AddrFrom4([4]byte{192, 0, 2, s.number})
	}
	return netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 15: s.number})
}

func (s *side) address(family int) netip.Addr {
	if family == 4 {
		return netip.AddrFrom4([4]byte{198, 18, 0, s.number})
	}
	return netip.AddrFrom16([16]byte{0xfd, 15: s.number})
}

func (l *lab) later(undo func() error) { l.undo = append(l.undo, undo) }

// close takes the lab apart; devices and filters go with their namespaces.
func (l *lab) close() error {
	var errs []error
	for i := len(l.undo) - 1; i >= 0; i-- {
		errs = append(errs, l.undo[i]())
	}
	return errors.Join(errs...)
}

func (l *lab) namespace() (*veth.NS, error) {
	ns, err := veth.NewNS()
	if err == nil {
		l.later(ns.Close)
	}
	return ns, err
}

const (
	labVNI  = 1
	wireMTU = 1500
	portMTU = wireMTU - bpf.Overhead6
)

func (l *lab) prefixes(address func(int) netip.Addr) []netip.Prefix {
	list := []netip.Prefix{netip.PrefixFrom(address(4), 24)}
	if l.ipv6 {
		list = append(list, netip.PrefixFrom(address(6), 64))
	}
	return list
}

// newLab makes all but the programs.
func newLab(clsact bool) (l *lab, err error) {
	l = &lab{clsact: clsact}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("make two hosts to try it on: %w", err), l.close())
		}
	}()
	wire, err := l.namespace()
	if err != nil {
		return l, err
	}
	if err := wire.Do(func() error { l.ipv6 = hasIPv6(); return nil }); err != nil {
		return l, err
	}
	for i := range l.sides {
		if l.sides[i], err = l.newSide(wire, byte(i+1)); err != nil {
			return l, err
		}
	}
	return l, l.connect(wire)
}

// hasIPv6 says whether devices of this namespace take IPv6 addresses.
func hasIPv6() bool {
	off, err := os.ReadFile("/proc/sys/net/ipv6/conf/default/disable_ipv6")
	return err == nil && strings.TrimSpace(string(off)) == "0"
}

func (l *lab) newSide(wire *veth.NS, number byte) (s *side, err error) {
	s = &side{number: number}
	if s.host, err = l.namespace(); err != nil {
		return s, err
	}
	if s.inside, err = l.namespace(); err != nil {
		return s, err
	}
	s.up, err = veth.Create(veth.Config{Name: fmt.Sprintf("wire%d", number), Host: wire, NS: s.host, Peer: "up0",
		MTU: wireMTU, Addrs: l.prefixes(s.vtep)})
	if err != nil {
		return s, err
	}
	s.port, err = veth.Create(veth.Config{Name: "port0", Host: s.host, NS: s.inside, MAC: [6]byte{2, 0, 0, 0, 0, number},
		MTU: portMTU, Addrs: l.prefixes(s.address)})
	return s, err
}

// connect makes the wire of its two ends.
func (l *lab) connect(wire *veth.NS) error {
	for i, s := range l.sides {
		p, err := redirecting(l.sides[1-i].up.Ifindex)
		if err != nil {
			return err
		}
		l.later(p.Close)
		if _, err := l.hook(wire, s.up.Ifindex, p); err != nil {
			return err
		}
	}
	return nil
}

// hook attaches a program as the data plane would; unhook takes it off.
func (l *lab) hook(ns *veth.NS, ifindex int, p *ebpf.Program) (unhook func() error, err error) {
	err = ns.Do(func() error {
		if l.clsact {
			unhook = func() error { return ns.Do(place(ifindex).Detach) }
			return errors.Join(veth.Clsact(ifindex), place(ifindex).Attach(p.FD()))
		}
		on, err := link.AttachTCX(link.TCXOptions{Program: p, Interface: ifindex, Attach: ebpf.AttachTCXIngress})
		if err != nil {
			return fmt.Errorf("attach to device %d: %w", ifindex, err)
		}
		unhook = on.Close
		return nil
	})
	if err == nil {
		l.later(unhook)
	}
	return unhook, err
}

// load puts programs onto maps of their own, which go with the lab.
func (l *lab) load(read func() (*ebpf.CollectionSpec, error), programs ...string) (*ebpf.Collection, error) {
	spec, err := read()
	if err != nil {
		return nil, err
	}
	keep := map[string]*ebpf.ProgramSpec{}
	for _, name := range programs {
		keep[name] = spec.Programs[name]
	}
	spec.Programs = keep
	c, err := ebpf.NewCollection(spec)
	if err != nil {
		return nil, fmt.Errorf("load programs: %w", err)
	}
	l.later(func() error { c.Close(); return nil })
	return c, nil
}

// put writes one entry of each map.
func put(c *ebpf.Collection, entries []entry) error {
	for _, e := range entries {
		if err := c.Maps[e.name].Put(e.key, e.value); err != nil {
			return fmt.Errorf("put into %s: %w", e.name, err)
		}
	}
	return nil
}

type entry struct {
	name       string
	key, value any
}

// settings are what a host knows of itself and its container.
func (s *side) settings() []entry {
	return []entry{
		{"cfg", uint32(0), &bpf.Config{Abi: bpf.ABI, Port: bpf.Port(bpf.DefaultPort), Vtep4: bpf.AddrOf(s.vtep(4)), Vtep6: bpf.AddrOf(s.vtep(6))}},
		{"vni", uint32(labVNI), &bpf.VniEntry{}},
		{"ep_by_ifindex", uint32(s.port.Ifindex), &bpf.Endpoint{Id: uint32(s.port.Ifindex), Vni: labVNI, Mac: bpf.Mac{B: s.port.MAC},
			Ip4: bpf.IPv4(s.address(4)), Ip6: bpf.AddrOf(s.address(6))}},
		s.forwards(s, bpf.FdbEntry{Type: bpf.TCFdbTypeFDB_LOCAL, Target: uint32(s.port.Ifindex), Endpoint: uint32(s.port.Ifindex)}),
	}
}

func (s *side) forwards(to *side, e bpf.FdbEntry) entry {
	return entry{"fdb", &bpf.FdbKey{Vni: labVNI, Mac: bpf.Mac{B: to.port.MAC}}, &e}
}

// knows is what a host knows of the other's container.
func (s *side) knows(other *side, family int, e bpf.FdbEntry) []entry {
	ip := other.address(family)
	return []entry{s.forwards(other, e), {"neigh", &bpf.NeighKey{Vni: labVNI, Family: uint32(family), Ip: bpf.AddrOf(ip)},
		&bpf.NeighEntry{Mac: bpf.Mac{B: other.port.MAC}}}}
}

// behind is what a host knows of the other: its VTEP, and that its container
// is behind it. tunnel is the device that encapsulates, or 0.
func (s *side) behind(other *side, family, tunnel int) ([]entry, error) {
	remote := other.vtep(family)
	v, err := bpf.NewVtep(bpf.Tunnel{LocalMAC: net.HardwareAddr(s.up.MAC[:]), RemoteMAC: net.HardwareAddr(other.up.MAC[:]), Local: s.vtep(family),
		Remote: remote, Ifindex: s.up.PeerIfindex, MTU: wireMTU})
	v.Tunnel = uint32(tunnel)
	id := uint32(family)
	return append(s.knows(other, family, bpf.FdbEntry{Type: bpf.TCFdbTypeFDB_REMOTE, Target: id}), entry{"vtep", id, &v},
		entry{"vtep_by_ip", &bpf.VtepKey{Family: uint32(family), Ip: bpf.AddrOf(remote)}, id}), err
}
