// SPDX-License-Identifier: Apache-2.0

package veth

import (
	"context"
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const neighbourInterval = 5 * time.Millisecond

// neighbour returns the MAC of a neighbour, having the kernel ask for it
// until ctx ends.
func neighbour(ctx context.Context, h *netlink.Handle, want netlink.Neigh) (mac [6]byte, err error) {
	use := want
	use.Flags, use.State = netlink.NTF_USE, netlink.NUD_NONE
	for asked := false; ; asked = true {
		list, err := h.NeighList(want.LinkIndex, 0)
		if err != nil {
			return mac, fmt.Errorf("list neighbours: %w", err)
		}
		for _, n := range list {
			if !n.IP.Equal(want.IP) || len(n.HardwareAddr) != len(mac) {
				continue
			}
			if n.State&known != 0 {
				copy(mac[:], n.HardwareAddr)
				return mac, nil
			}
			if asked && n.State&unix.NUD_FAILED != 0 {
				return mac, fmt.Errorf("%v does not answer on device %d", want.IP, want.LinkIndex)
			}
		}
		if !asked {
			if err := h.NeighSet(&use); err != nil {
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
