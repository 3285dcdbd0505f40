// SPDX-License-Identifier: Apache-2.0

package veth

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Confirm has the kernel ask the next hop towards an address whether it still
// has its MAC, as it does before it sends a packet of its own. Programs that
// write the MAC themselves would send to one that nobody has any more, and
// never notice. Who waits for the answer Watches.
func Confirm(ip netip.Addr) error {
	return asking(fmt.Sprintf("confirm the next hop towards %v", ip), func(h *netlink.Handle) error {
		routes, err := h.RouteGet(ip.AsSlice())
		if err != nil {
			return fmt.Errorf("find route: %w", err)
		}
		if len(routes) != 1 || routes[0].Type != unix.RTN_UNICAST {
			return errors.New("it is no other host's address")
		}
		return ask(h, netlink.Neigh{LinkIndex: routes[0].LinkIndex, IP: next(ip, routes[0])})
	})
}
