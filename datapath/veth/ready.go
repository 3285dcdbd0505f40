// SPDX-License-Identifier: Apache-2.0

package veth

import (
	"fmt"
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

// ready waits until the container's end carries packets. That its peer is up
// it learns from a work queue of the kernel; from another come the local
// routes of its IPv6 addresses, also without duplicate address detection.
// Until then what it sends and what is for those addresses is dropped without
// a word, and on a busy machine that takes milliseconds.
func (m maker) ready(peer netlink.Link) error {
	deadline := time.Now().Add(readyWithin)
	for pause := readyFirst; ; pause = min(2*pause, 2*time.Millisecond) {
		missing, err := m.missing(peer)
		if err != nil || missing == "" {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not ready after %v: %s", readyWithin, missing)
		}
		time.Sleep(pause)
	}
}

// missing is what the container's end lacks to carry packets.
func (m maker) missing(peer netlink.Link) (string, error) {
	link, err := m.inside.LinkByIndex(peer.Attrs().Index)
	if err != nil {
		return "", fmt.Errorf("find: %w", notFound(err))
	}
	if link.Attrs().OperState != netlink.OperUp {
		return fmt.Sprintf("it is %v", link.Attrs().OperState), nil
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
