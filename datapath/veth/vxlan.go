// SPDX-License-Identifier: Apache-2.0

package veth

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// CollectMD makes sure that there is a VXLAN device that takes the tunnel of
// each frame from its metadata, and returns its number. One that is there and
// does so on this port is as good.
func CollectMD(name string, port uint16) (int, error) {
	ifindex, err := collectMD(name, port)
	if err != nil {
		return 0, fmt.Errorf("create VXLAN device %s: %w", name, err)
	}
	return ifindex, nil
}

func collectMD(name string, port uint16) (int, error) {
	h, err := dial(nil)
	if err != nil {
		return 0, err
	}
	defer h.Close()
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.TxQLen, attrs.MTU = name, -1, maxVXLAN
	err = h.LinkAdd(&netlink.Vxlan{LinkAttrs: attrs, FlowBased: true, Port: int(port), UDP6ZeroCSumRx: true,
		PortLow: 49152, PortHigh: 65535}) // of the source, as RFC 7348 says; the kernel's default is that of sockets
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return 0, err
	}
	exists := err != nil
	link, err := h.LinkByName(name)
	if err := notFound(err); exists && errors.Is(err, ErrNotFound) {
		return 0, fmt.Errorf("another VXLAN device has port %d: %w", port, ErrExists)
	} else if err != nil {
		return 0, fmt.Errorf("find: %w", err)
	}
	if v, ok := link.(*netlink.Vxlan); exists && (!ok || !v.FlowBased || v.Port != int(port)) {
		return 0, fmt.Errorf("%w by device %d (%s) that is not of that kind and port", ErrExists, link.Attrs().Index, link.Type())
	}
	if err := errors.Join(h.LinkSetIP6AddrGenMode(link, addrGenNone), h.LinkSetUp(link)); err != nil {
		if !exists {
			err = errors.Join(err, gone(h.LinkDel(link)))
		}
		return 0, fmt.Errorf("set up: %w", err)
	}
	return link.Attrs().Index, nil
}

// maxVXLAN is the largest MTU that the kernel gives such a device: what fits
// is known per VTEP, and checked there.
const maxVXLAN = 65485

// DeleteVXLAN removes a device that CollectMD made. Absent is success; a
// device of another kind stays.
func DeleteVXLAN(name string) error {
	return asking("delete VXLAN device "+name, func(h *netlink.Handle) error {
		link, err := h.LinkByName(name)
		if err != nil {
			return gone(err)
		}
		if v, ok := link.(*netlink.Vxlan); !ok || !v.FlowBased {
			return fmt.Errorf("it is a device of type %s", link.Type())
		}
		return gone(h.LinkDel(link))
	})
}
