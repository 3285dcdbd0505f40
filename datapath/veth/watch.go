// SPDX-License-Identifier: Apache-2.0

package veth

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Kind is what an Event tells.
type Kind int

const (
	Resync       Kind = iota // whatever was read before may be old: the first event, and after some were lost
	LinkChanged              // a device is new, or its name, MTU, MAC or state changed
	LinkGone                 // a device is gone, or in another namespace
	AddrAdded                // a device has an address
	AddrGone                 // and has it no longer
	NeighChanged             // a neighbour answered from MAC
	NeighFailed              // a neighbour answers no longer, or was removed
)

// Event is a change of the host's network that was not asked for here.
type Event struct {
	Kind    Kind
	Ifindex int
	Name    string     // of a link
	MTU     int        // of a link
	Up      bool       // of a link
	MAC     [6]byte    // of a link or a neighbour
	IP      netip.Addr // of an address or a neighbour
}

// Watch calls fn with what changes in the caller's namespace, until ctx ends,
// which is no error. The first event is a Resync: what is read after it is
// kept true by those that follow.
func Watch(ctx context.Context, fn func(Event)) error {
	s, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK, unix.RTNLGRP_NEIGH, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR)
	if err != nil {
		return fmt.Errorf("watch links and neighbours: %w", err)
	}
	stop := context.AfterFunc(ctx, s.Close)
	defer func() {
		if stop() {
			s.Close()
		}
	}()
	fn(Event{Kind: Resync})
	for {
		messages, _, err := s.Receive()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.ENOBUFS):
			fn(Event{Kind: Resync})
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return fmt.Errorf("watch links and neighbours: %w", err)
		}
		for _, m := range messages {
			if e, ok := event(m); ok {
				fn(e)
			}
		}
	}
}

// event reads a message of the kernel; ok is false for those that tell
// nothing of use.
func event(m syscall.NetlinkMessage) (e Event, ok bool) {
	switch m.Header.Type {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		return linkEvent(m)
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		return addrEvent(m)
	case unix.RTM_NEWNEIGH, unix.RTM_DELNEIGH:
		return neighEvent(m)
	}
	return e, false
}

func linkEvent(m syscall.NetlinkMessage) (e Event, ok bool) {
	// Those of a bridge's ports repeat what is said in the message proper.
	if len(m.Data) < unix.SizeofIfInfomsg || m.Data[0] != unix.AF_UNSPEC {
		return e, false
	}
	link, err := netlink.LinkDeserialize(nil, m.Data)
	if err != nil {
		return e, false
	}
	a := link.Attrs()
	e = Event{Kind: LinkChanged, Ifindex: a.Index, Name: a.Name, MTU: a.MTU, Up: a.Flags&net.FlagUp != 0}
	copy(e.MAC[:], a.HardwareAddr)
	if m.Header.Type == unix.RTM_DELLINK {
		e.Kind = LinkGone
	}
	return e, true
}

func addrEvent(m syscall.NetlinkMessage) (e Event, ok bool) {
	if len(m.Data) < unix.SizeofIfAddrmsg {
		return e, false
	}
	e = Event{Kind: AddrAdded, Ifindex: int(nl.NativeEndian().Uint32(m.Data[4:8]))}
	if m.Header.Type == unix.RTM_DELADDR {
		e.Kind = AddrGone
	}
	attrs, err := nl.ParseRouteAttr(m.Data[unix.SizeofIfAddrmsg:])
	for _, a := range attrs {
		// With a peer, IFA_ADDRESS is the peer's and IFA_LOCAL ours.
		if a.Attr.Type == unix.IFA_LOCAL || a.Attr.Type == unix.IFA_ADDRESS && !e.IP.IsValid() {
			e.IP, _ = netip.AddrFromSlice(a.Value)
		}
	}
	return e, err == nil && e.IP.IsValid()
}

func neighEvent(m syscall.NetlinkMessage) (e Event, ok bool) {
	n, err := netlink.NeighDeserialize(m.Data)
	if err != nil || n.Family != unix.AF_INET && n.Family != unix.AF_INET6 {
		return e, false
	}
	e = Event{Kind: NeighChanged, Ifindex: n.LinkIndex}
	e.IP, _ = netip.AddrFromSlice(n.IP)
	e.IP = e.IP.Unmap()
	copy(e.MAC[:], n.HardwareAddr)
	if m.Header.Type == unix.RTM_DELNEIGH || n.State&unix.NUD_FAILED != 0 {
		e.Kind = NeighFailed
		return e, true
	}
	return e, n.State&known != 0 && len(n.HardwareAddr) == len(e.MAC)
}
