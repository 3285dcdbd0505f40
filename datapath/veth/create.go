// SPDX-License-Identifier: Apache-2.0

package veth

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// dial opens a netlink socket in a namespace. It stays there, whoever uses it.
func dial(ns *NS) (h *netlink.Handle, err error) {
	err = ns.do(func() error {
		h, err = netlink.NewHandle(unix.NETLINK_ROUTE)
		return os.NewSyscallError("open netlink socket", err)
	})
	return h, err
}

// Create makes a pair: the container's end in its namespace with all that it
// needs, then the host's end, which has no addresses. Whether the host's end
// may send the container XDP frames is settled when it is set up, so that
// comes last. A name that is taken is ErrExists. When it fails, nothing of
// the pair is left.
func Create(c Config) (Pair, error) {
	p, err := create(c)
	if err != nil {
		return Pair{}, fmt.Errorf("create pair %s: %w", c.Name, err)
	}
	return p, nil
}

func create(c Config) (p Pair, err error) {
	if c, err = c.complete(); err != nil {
		return p, err
	}
	host, err := dial(c.Host)
	if err != nil {
		return p, err
	}
	defer host.Close()
	inside, err := dial(c.NS)
	if err != nil {
		return p, err
	}
	defer inside.Close()
	link, err := add(host, inside, c)
	if err != nil {
		return p, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, gone(host.LinkDel(link)))
		}
	}()
	peer, err := inside.LinkByIndex(link.Attrs().ParentIndex)
	if err != nil {
		return p, fmt.Errorf("find %s: %w", c.Peer, err)
	}
	if err := dress(inside, peer, c); err != nil {
		return p, err
	}
	if err := raise(host, link, c); err != nil {
		return p, err
	}
	p = Pair{Name: c.Name, Ifindex: link.Attrs().Index, PeerIfindex: peer.Attrs().Index}
	copy(p.MAC[:], peer.Attrs().HardwareAddr)
	return p, nil
}

// add makes the two devices, each in its namespace from the first moment.
func add(host, inside *netlink.Handle, c Config) (netlink.Link, error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.TxQLen = c.Name, c.MTU, -1
	attrs.NumTxQueues, attrs.NumRxQueues = c.Queues, c.Queues
	v := netlink.NewVeth(attrs)
	v.PeerName, v.PeerNamespace = c.Peer, netlink.NsFd(c.NS.file.Fd())
	if c.MAC != ([6]byte{}) {
		v.PeerHardwareAddr = net.HardwareAddr(c.MAC[:])
	}
	if err := host.LinkAdd(v); errors.Is(err, unix.EEXIST) {
		return nil, taken(host, inside, c)
	} else if err != nil {
		return nil, fmt.Errorf("add devices: %w", err)
	}
	link, err := host.LinkByName(c.Name)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("find %s: %w", c.Name, err), gone(host.LinkDel(v)))
	}
	return link, nil
}

// taken says which of the two names somebody has, and who.
func taken(host, inside *netlink.Handle, c Config) error {
	if l, err := host.LinkByName(c.Name); err == nil {
		return fmt.Errorf("%s: %w by device %d (%s)", c.Name, ErrExists, l.Attrs().Index, l.Type())
	}
	if l, err := inside.LinkByName(c.Peer); err == nil {
		return fmt.Errorf("%s in %s: %w by device %d (%s, %v)", c.Peer, c.NS.file.Name(), ErrExists,
			l.Attrs().Index, l.Type(), l.Attrs().HardwareAddr)
	}
	return fmt.Errorf("%s or %s: %w", c.Name, c.Peer, ErrExists)
}

// dress gives the container's end what it needs and sets it up.
func dress(inside *netlink.Handle, peer netlink.Link, c Config) error {
	if c.XDP {
		if err := prepareXDP(c); err != nil {
			return fmt.Errorf("%s: %w", c.Peer, err)
		}
	}
	for _, a := range c.Addrs {
		addr := &netlink.Addr{IPNet: ipNet(a), Flags: unix.IFA_F_NODAD}
		if a.Addr().Is4() {
			addr.Flags = 0
		}
		if err := inside.AddrAdd(peer, addr); err != nil {
			return fmt.Errorf("%s: add address %v: %w", c.Peer, a, err)
		}
	}
	if err := inside.LinkSetUp(peer); err != nil {
		return fmt.Errorf("%s: set up: %w", c.Peer, err)
	}
	for _, r := range c.Routes {
		if err := inside.RouteAdd(route(r, peer)); err != nil {
			return fmt.Errorf("%s: add route to %v via %v: %w", c.Peer, r.To, r.Via, err)
		}
	}
	return nil
}

func route(r Route, peer netlink.Link) *netlink.Route {
	n := &netlink.Route{LinkIndex: peer.Attrs().Index, Dst: ipNet(r.To.Masked()), MTU: r.MTU}
	if r.Via.IsValid() {
		n.Gw = r.Via.AsSlice()
	} else if r.To.Addr().Is4() {
		n.Scope = netlink.SCOPE_LINK
	}
	return n
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// raise sets the host's end up, without an address of its own.
func raise(host *netlink.Handle, link netlink.Link, c Config) error {
	if err := host.LinkSetIP6AddrGenMode(link, addrGenNone); err != nil {
		return fmt.Errorf("%s: take no IPv6 address: %w", c.Name, err)
	}
	if err := host.LinkSetUp(link); err != nil {
		return fmt.Errorf("%s: set up: %w", c.Name, err)
	}
	return nil
}

const addrGenNone = 1 // IN6_ADDR_GEN_MODE_NONE

// gone is err, unless it says that what was to go was not there.
func gone(err error) error {
	var missing netlink.LinkNotFoundError
	if errors.As(err, &missing) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}
