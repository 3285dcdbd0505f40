// SPDX-License-Identifier: Apache-2.0

package veth

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Clsact makes sure that a device has the qdisc that programs are attached to
// where there is no tcx.
func Clsact(ifindex int) error {
	return asking(fmt.Sprintf("add clsact to device %d", ifindex), func(h *netlink.Handle) error {
		q := &netlink.GenericQdisc{QdiscType: "clsact", QdiscAttrs: netlink.QdiscAttrs{LinkIndex: ifindex,
			Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT}}
		if err := h.QdiscAdd(q); !errors.Is(err, unix.EEXIST) {
			return err
		}
		return nil
	})
}

// Filter is a place of the ingress of a device with a clsact.
type Filter struct {
	Ifindex  int
	Priority uint16 // 1 is first
	Handle   uint32
	Name     string // shown beside the program
}

// Attach puts a program, by its descriptor, into a place, instead of what is
// there. No frame sees neither of the two.
func (f Filter) Attach(fd int) error {
	return asking("attach "+f.String(), func(h *netlink.Handle) error {
		return h.FilterReplace(&netlink.BpfFilter{FilterAttrs: f.attrs(), Fd: fd, Name: f.Name, DirectAction: true})
	})
}

// Detach empties a place, and takes the qdisc along after the last filter,
// whoever made it. Absent is success.
func (f Filter) Detach() error {
	return asking("detach "+f.String(), func(h *netlink.Handle) error {
		err := h.FilterDel(&netlink.BpfFilter{FilterAttrs: f.attrs(), Fd: -1})
		if err == nil {
			err = f.leave(h)
		}
		// No device; no clsact on it; no such filter.
		if errors.Is(err, unix.ENODEV) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
			return nil
		}
		return err
	})
}

// leave removes a clsact that nobody has a filter on.
func (f Filter) leave(h *netlink.Handle) error {
	at := &netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Index: f.Ifindex}}
	for _, parent := range []uint32{netlink.HANDLE_MIN_INGRESS, netlink.HANDLE_MIN_EGRESS} {
		list, err := whole(func() ([]netlink.Filter, error) { return h.FilterList(at, parent) })
		if err != nil || len(list) > 0 {
			return err
		}
	}
	return h.QdiscDel(&netlink.GenericQdisc{QdiscType: "clsact", QdiscAttrs: netlink.QdiscAttrs{LinkIndex: f.Ifindex,
		Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT}})
}

// Program is the kernel's number of the program in a place, 0 if there is none.
func (f Filter) Program() (id int, err error) {
	err = asking("find "+f.String(), func(h *netlink.Handle) error {
		at := &netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Index: f.Ifindex}}
		list, err := whole(func() ([]netlink.Filter, error) { return h.FilterList(at, netlink.HANDLE_MIN_INGRESS) })
		if errors.Is(err, unix.EINVAL) { // no clsact
			return nil
		}
		for _, one := range list {
			if b, ok := one.(*netlink.BpfFilter); ok && b.Priority == f.Priority && b.Handle == f.Handle {
				id = b.Id
			}
		}
		return err
	})
	return id, err
}

func (f Filter) String() string { return fmt.Sprintf("filter %d of device %d", f.Priority, f.Ifindex) }

func (f Filter) attrs() netlink.FilterAttrs {
	return netlink.FilterAttrs{LinkIndex: f.Ifindex, Parent: netlink.HANDLE_MIN_INGRESS, Handle: f.Handle,
		Priority: f.Priority, Protocol: unix.ETH_P_ALL}
}

// asking calls fn with a netlink socket; what names the call in its error.
func asking(what string, fn func(*netlink.Handle) error) error {
	h, err := dial(nil)
	if err == nil {
		defer h.Close()
		err = fn(h)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
