// SPDX-License-Identifier: Apache-2.0

package veth

import (
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/vishvananda/netlink"
)

// Check compares a pair with what it was made by, and says what differs:
// devices that are gone or re-named, settings that somebody changed.
func Check(p Pair, c Config) ([]string, error) {
	c, err := c.complete()
	if err != nil {
		return nil, fmt.Errorf("check pair %s: %w", p.Name, err)
	}
	host, err := checkHost(p, c)
	if err != nil {
		return nil, fmt.Errorf("check pair %s: %w", p.Name, err)
	}
	inside, err := checkInside(p, c)
	if err != nil {
		return nil, fmt.Errorf("check pair %s: %w", p.Name, err)
	}
	return append(host, inside...), nil
}

func checkHost(p Pair, c Config) (diffs []string, err error) {
	h, err := dial(c.Host)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	link, err := h.LinkByIndex(p.Ifindex)
	if err := notFound(err); errors.Is(err, ErrNotFound) {
		return []string{fmt.Sprintf("device %d is gone", p.Ifindex)}, nil
	} else if err != nil {
		return nil, err
	}
	if link.Type() != "veth" || link.Attrs().ParentIndex != p.PeerIfindex {
		return []string{fmt.Sprintf("device %d is another: %s, of type %s", p.Ifindex, link.Attrs().Name, link.Type())}, nil
	}
	return compare(link, c.Name, c), nil
}

func checkInside(p Pair, c Config) ([]string, error) {
	h, err := dial(c.NS)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	link, err := h.LinkByIndex(p.PeerIfindex)
	if err := notFound(err); errors.Is(err, ErrNotFound) {
		return []string{fmt.Sprintf("%s (device %d) is not in its namespace", c.Peer, p.PeerIfindex)}, nil
	} else if err != nil {
		return nil, err
	}
	diffs := compare(link, c.Peer, c)
	if mac := net.HardwareAddr(p.MAC[:]); link.Attrs().HardwareAddr.String() != mac.String() {
		diffs = append(diffs, fmt.Sprintf("MAC of %s: %v, want %v", c.Peer, link.Attrs().HardwareAddr, mac))
	}
	addrs, err := whole(func() ([]netlink.Addr, error) { return h.AddrList(link, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("list addresses of %s: %w", c.Peer, err)
	}
	for _, want := range c.Addrs {
		if !slices.ContainsFunc(addrs, func(a netlink.Addr) bool { return prefix(a.IPNet) == want }) {
			diffs = append(diffs, fmt.Sprintf("%s has no address %v", c.Peer, want))
		}
	}
	if c.XDP {
		err := c.NS.Do(func() error { return readyForXDP(link.Attrs().Name) })
		if err != nil {
			diffs = append(diffs, fmt.Sprintf("%s: %v", c.Peer, err))
		}
	}
	return diffs, nil
}

func compare(link netlink.Link, name string, c Config) (diffs []string) {
	a := link.Attrs()
	if a.Name != name {
		diffs = append(diffs, fmt.Sprintf("name of device %d: %s, want %s", a.Index, a.Name, name))
	}
	if a.MTU != c.MTU {
		diffs = append(diffs, fmt.Sprintf("MTU of %s: %d, want %d", a.Name, a.MTU, c.MTU))
	}
	if a.Flags&net.FlagUp == 0 {
		diffs = append(diffs, a.Name+" is down")
	}
	return diffs
}
