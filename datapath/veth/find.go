// SPDX-License-Identifier: Apache-2.0

package veth

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
)

// Delete removes a pair by the name of its host's end. Absent is success; a
// device of another kind stays.
func Delete(name string) error {
	h, err := dial(nil)
	if err != nil {
		return fmt.Errorf("delete pair %s: %w", name, err)
	}
	defer h.Close()
	link, err := h.LinkByName(name)
	if err != nil {
		err = gone(err)
	} else if link.Type() != "veth" {
		err = fmt.Errorf("it is a device of type %s", link.Type())
	} else {
		err = gone(h.LinkDel(link))
	}
	if err != nil {
		return fmt.Errorf("delete pair %s: %w", name, err)
	}
	return nil
}

// Find finds the pair whose host's end has a number. MAC is not filled in: it
// is the container's.
func Find(ifindex int) (Pair, error) {
	h, err := dial(nil)
	if err != nil {
		return Pair{}, fmt.Errorf("find device %d: %w", ifindex, err)
	}
	defer h.Close()
	link, err := h.LinkByIndex(ifindex)
	if err != nil {
		return Pair{}, fmt.Errorf("find device %d: %w", ifindex, notFound(err))
	}
	if link.Type() != "veth" {
		return Pair{}, fmt.Errorf("find device %d: %s is of type %s: %w", ifindex, link.Attrs().Name, link.Type(), ErrNotFound)
	}
	return Pair{Name: link.Attrs().Name, Ifindex: ifindex, PeerIfindex: link.Attrs().ParentIndex}, nil
}

// Raise sets the host's end of a pair up.
func Raise(ifindex int) error {
	h, err := dial(nil)
	if err != nil {
		return fmt.Errorf("set device %d up: %w", ifindex, err)
	}
	defer h.Close()
	link, err := h.LinkByIndex(ifindex)
	if err == nil {
		err = h.LinkSetUp(link)
	}
	if err != nil {
		return fmt.Errorf("set device %d up: %w", ifindex, notFound(err))
	}
	return nil
}

func notFound(err error) error {
	var missing netlink.LinkNotFoundError
	if errors.As(err, &missing) {
		return ErrNotFound
	}
	return err
}
