// SPDX-License-Identifier: Apache-2.0

package veth

import (
	"fmt"
	"net"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// How long a device may take until it carries packets, and how long to wait
// before looking at it again: longer each time.
const (
	readyWithin = 5 * time.Second
	readyFirst  = 50 * time.Microsecond
)

// ready waits until the container's end carries packets, and returns the MAC
// that it has then. That its peer is up it learns from a work queue of the
// kernel; from another come the local routes of its IPv6 addresses, also
// without duplicate address detection. Until then what it sends and what is
// for those addresses is dropped without a word, and on a busy machine that
// takes milliseconds.
func (m maker) ready(peer netlink.Link) (mac [6]byte, err error) {
	deadline := time.Now().Add(readyWithin)
	for pause := readyFirst; ; pause = min(2*pause, 2*time.Millisecond) {
		missing, err := m.missing(peer, &mac)
		if err != nil || missing == "" {
			return mac, err
		}
		if time.Now().After(deadline) {
			return mac, fmt.Errorf("not ready after %v: %s", readyWithin, missing)
		}
		time.Sleep(pause)
	}
}

// missing is what the container's end lacks to carry packets. A MAC that
// somebody else gave it is an error: frames with it would be taken for spoofed.
func (m maker) missing(peer netlink.Link, mac *[6]byte) (string, error) {
	link, err := m.inside.LinkByIndex(peer.Attrs().Index)
	if err != nil {
		return "", fmt.Errorf("find: %w", notFound(err))
	}
	copy(mac[:], link.Attrs().HardwareAddr)
	if m.MAC != ([6]byte{}) && *mac != m.MAC {
		return "", fmt.Errorf("MAC became %v, want %v: who manages devices there (udev, NetworkManager) must leave it alone",
			link.Attrs().HardwareAddr, net.HardwareAddr(m.MAC[:]))
	}
	if link.Attrs().OperState != netlink.OperUp {
		return fmt.Sprintf("it is %v although both ends are up", link.Attrs().OperState), nil
	}
	for _, a := range m.Addrs {
		if !a.Addr().Is6() {
			continue
		}
		routes, err := m.inside.RouteGet(a.Addr().AsSlice())
		if err != nil || len(routes) == 0 || routes[0].Type != unix.RTN_LOCAL {
			return fmt.Sprintf("no local route to %v yet", a.Addr()), nil
		}
	}
	return "", nil
}
