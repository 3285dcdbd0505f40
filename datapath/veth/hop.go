// SPDX-License-Identifier: Apache-2.0

package veth

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Hop is how the underlay reaches an address.
type Hop struct {
	Ifindex int
	Local   [6]byte // the device's MAC
	Remote  [6]byte // the next hop's MAC
	Src     netip.Addr
	MTU     int // of the way
}

// Resolve asks the kernel for the way to an address, and the network for the
// next hop's MAC when the kernel does not know it.
func Resolve(ctx context.Context, ip netip.Addr) (Hop, error) {
	hop, err := resolve(ctx, ip)
	if err != nil {
		return Hop{}, fmt.Errorf("resolve %v: %w", ip, err)
	}
	return hop, nil
}

func resolve(ctx context.Context, ip netip.Addr) (hop Hop, err error) {
	h, err := dial(nil)
	if err != nil {
		return hop, err
	}
	defer h.Close()
	routes, err := h.RouteGet(ip.AsSlice())
	if err != nil {
		return hop, fmt.Errorf("find route: %w", err)
	}
	if len(routes) != 1 || routes[0].Type != unix.RTN_UNICAST {
		return hop, fmt.Errorf("it is no other host's address (route %v)", routes)
	}
	r := routes[0]
	link, err := h.LinkByIndex(r.LinkIndex)
	if err != nil {
		return hop, fmt.Errorf("find device %d: %w", r.LinkIndex, notFound(err))
	}
	if link.Attrs().EncapType != "ether" {
		return hop, fmt.Errorf("the way is through %s, which is no Ethernet device (%s)", link.Attrs().Name, link.Attrs().EncapType)
	}
	hop = Hop{Ifindex: r.LinkIndex, MTU: link.Attrs().MTU}
	copy(hop.Local[:], link.Attrs().HardwareAddr)
	if r.MTU > 0 {
		hop.MTU = r.MTU
	}
	hop.Src, _ = netip.AddrFromSlice(r.Src)
	hop.Src = hop.Src.Unmap()
	hop.Remote, err = neighbour(ctx, h, netlink.Neigh{LinkIndex: r.LinkIndex, IP: next(ip, r)})
	return hop, err
}

// next is whom a frame on that route is sent to.
func next(ip netip.Addr, r netlink.Route) net.IP {
	if via, ok := r.Via.(*netlink.Via); ok { // of another family
		return via.Addr
	}
	if r.Gw != nil {
		return r.Gw
	}
	return ip.AsSlice()
}

const (
	neighbourInterval = 5 * time.Millisecond
	known             = unix.NUD_REACHABLE | unix.NUD_STALE | unix.NUD_DELAY | unix.NUD_PROBE | unix.NUD_PERMANENT | unix.NUD_NOARP
)

// neighbour returns the MAC of a neighbour, having the kernel ask for it
// until ctx ends.
func neighbour(ctx context.Context, h *netlink.Handle, want netlink.Neigh) (mac [6]byte, err error) {
	for asked := false; ; asked = true {
		list, err := whole(func() ([]netlink.Neigh, error) { return h.NeighList(want.LinkIndex, 0) })
		if err != nil {
			return mac, fmt.Errorf("list neighbours: %w", err)
		}
		for _, n := range list {
			if !n.IP.Equal(want.IP) {
				continue
			}
			if n.State&known != 0 && len(n.HardwareAddr) == len(mac) {
				copy(mac[:], n.HardwareAddr)
				return mac, nil
			}
			if asked && n.State&unix.NUD_FAILED != 0 {
				return mac, fmt.Errorf("%v does not answer on device %d", want.IP, want.LinkIndex)
			}
		}
		if !asked {
			if err := ask(h, want); err != nil {
				return mac, fmt.Errorf("ask for %v: %w", want.IP, err)
			}
		}
		select {
		case <-ctx.Done():
			return mac, fmt.Errorf("ask for %v: %w", want.IP, ctx.Err())
		case <-time.After(neighbourInterval):
		}
	}
}

// ask makes the kernel ask the network for a neighbour. For IPv6 it does so
// from a link-local address only, and on a device that has none not at all,
// unless there is a packet to send, whose address it takes then.
func ask(h *netlink.Handle, n netlink.Neigh) error {
	n.Flags, n.State = netlink.NTF_USE, netlink.NUD_NONE
	if n.IP.To4() != nil {
		return h.NeighSet(&n)
	}
	device := &netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Index: n.LinkIndex}}
	addrs, err := whole(func() ([]netlink.Addr, error) { return h.AddrList(device, netlink.FAMILY_V6) })
	if err != nil {
		return err
	}
	if slices.ContainsFunc(addrs, func(a netlink.Addr) bool { return a.IP.IsLinkLocalUnicast() }) {
		return h.NeighSet(&n)
	}
	c, err := net.DialUDP("udp6", nil, &net.UDPAddr{IP: n.IP, Port: discard})
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Write(nil)
	return err
}

// discard is the port of who throws away what comes.
const discard = 9

// whole lists until nothing has changed meanwhile.
func whole[T any](list func() ([]T, error)) (all []T, err error) {
	for range 100 {
		if all, err = list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return all, err
}
