// SPDX-License-Identifier: Apache-2.0

package veth

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A sender hands TCP down in frames of many segments, of 64 KiB unless its
// device says more (BIG TCP). What one frame costs on its way is the same, so
// larger is faster; but a device that takes less has the frame cut into its
// segments in software, which costs more than all that was won.
const (
	MostGSO  = 192 << 10
	LeastGSO = 64 << 10 // what everybody takes
)

// SetGSO says how large frames of many segments a container's end may send. A
// kernel that knows no larger ones stays with what it has.
func SetGSO(ns *NS, device string, size int) error {
	err := ns.Do(func() error {
		h, err := dial(nil)
		if err != nil {
			return err
		}
		defer h.Close()
		link, err := h.LinkByName(device)
		if err != nil {
			return notFound(err)
		}
		return setGSO(h, link, size)
	})
	if err != nil {
		return fmt.Errorf("set segments of %s: %w", device, err)
	}
	return nil
}

// setGSO: what is said for both families goes first, as it may lower that of
// IPv4 but does not raise it.
func setGSO(h *netlink.Handle, link netlink.Link, size int) error {
	for _, set := range []func(netlink.Link, int) error{h.LinkSetGSOMaxSize, h.LinkSetGSOIPv4MaxSize} {
		if err := set(link, size); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EOPNOTSUPP) {
			return err
		}
	}
	return nil
}

// gsoOf is what a device takes whole, of either family.
func gsoOf(a *netlink.LinkAttrs) int {
	size := int(a.GSOMaxSize)
	if v4 := int(a.GSOIPv4MaxSize); v4 > 0 {
		size = min(size, v4)
	}
	if size == 0 {
		return LeastGSO
	}
	return min(size, MostGSO)
}
