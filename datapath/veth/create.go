// SPDX-License-Identifier: Apache-2.0

package veth

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"

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
	err = c.NS.Do(func() error {
		inside, err := dial(nil)
		if err != nil {
			return err
		}
		defer inside.Close()
		p, err = maker{c, host, inside}.pair()
		return err
	})
	return p, err
}

// maker makes a pair, on a thread that is in the container's namespace, with
// a socket in each.
type maker struct {
	Config
	host, inside *netlink.Handle
}

func (m maker) pair() (p Pair, err error) {
	link, err := m.add()
	if err != nil {
		return p, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, gone(m.host.LinkDel(link)))
		}
	}()
	peer := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: m.Peer, Index: link.Attrs().ParentIndex}}
	if err := m.dress(peer); err != nil {
		return p, fmt.Errorf("%s: %w", m.Peer, err)
	}
	if err := m.raise(link); err != nil {
		return p, fmt.Errorf("%s: %w", m.Name, err)
	}
	p = Pair{Name: m.Name, Ifindex: link.Attrs().Index, PeerIfindex: peer.Index}
	if p.MAC, err = m.ready(peer); err != nil {
		return Pair{}, fmt.Errorf("%s: %w", m.Peer, err)
	}
	return p, nil
}

// add makes the two devices, each in its namespace from the first moment.
func (m maker) add() (netlink.Link, error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.TxQLen = m.Name, m.MTU, -1
	attrs.NumTxQueues, attrs.NumRxQueues = m.Queues, m.Queues
	v := netlink.NewVeth(attrs)
	v.PeerName, v.PeerNamespace = m.Peer, netlink.NsFd(m.NS.file.Fd())
	if m.MAC != ([6]byte{}) {
		v.PeerHardwareAddr = net.HardwareAddr(m.MAC[:])
		// udev leaves alone what was given at birth, and makes up another for what was not.
		v.HardwareAddr = net.HardwareAddr{(m.MAC[0] | 2) ^ 4, m.MAC[1], m.MAC[2], m.MAC[3], m.MAC[4], m.MAC[5]}
	}
	if err := m.host.LinkAdd(v); errors.Is(err, unix.EEXIST) {
		return nil, m.taken()
	} else if err != nil {
		return nil, fmt.Errorf("add devices: %w", err)
	}
	link, err := m.host.LinkByName(m.Name)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("find %s: %w", m.Name, err), gone(m.host.LinkDel(v)))
	}
	return link, nil
}

// taken says which of the two names somebody has, and who.
func (m maker) taken() error {
	if l, err := m.host.LinkByName(m.Name); err == nil {
		return fmt.Errorf("%w by device %d (%s)", ErrExists, l.Attrs().Index, l.Type())
	}
	if l, err := m.inside.LinkByName(m.Peer); err == nil {
		return fmt.Errorf("%s in the container: %w by device %d (%s, %v)", m.Peer, ErrExists,
			l.Attrs().Index, l.Type(), l.Attrs().HardwareAddr)
	}
	return fmt.Errorf("%s or %s: %w", m.Name, m.Peer, ErrExists)
}

// dress gives the container's end what it needs and sets it up.
func (m maker) dress(peer netlink.Link) error {
	if m.XDP {
		if err := prepareXDP(m.Peer); err != nil {
			return err
		}
	}
	if m.GSO > LeastGSO {
		if err := setGSO(m.inside, peer, m.GSO); err != nil {
			return fmt.Errorf("set segments: %w", err)
		}
	}
	if slices.ContainsFunc(m.Addrs, func(a netip.Prefix) bool { return a.Addr().Is6() }) {
		if err := sysctl(confIPv6, m.Peer, insideIPv6); err != nil {
			return err
		}
	}
	for _, a := range m.Addrs {
		addr := &netlink.Addr{IPNet: ipNet(a)}
		if a.Addr().Is6() {
			addr.Flags = unix.IFA_F_NODAD
		}
		if err := m.inside.AddrAdd(peer, addr); err != nil {
			return fmt.Errorf("add address %v: %w", a, err)
		}
	}
	if err := m.inside.LinkSetUp(peer); err != nil {
		return fmt.Errorf("set up: %w", err)
	}
	for _, r := range m.Routes {
		if err := m.inside.RouteAdd(route(r, peer)); err != nil {
			return fmt.Errorf("add route to %v via %v: %w", r.To, r.Via, err)
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
func (m maker) raise(link netlink.Link) error {
	if err := m.host.LinkSetIP6AddrGenMode(link, addrGenNone); err != nil {
		return fmt.Errorf("take no IPv6 address: %w", err)
	}
	if err := m.host.LinkSetUp(link); err != nil {
		return fmt.Errorf("set up: %w", err)
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
