// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// What is attached has a file in links/, so that it is found again: a link of
// the kernel, whose file keeps it attached, or for a filter of clsact the
// program that is in it (clsact.go).

func (d *Datapath) program(h hook) *ebpf.Program {
	if p := d.tc.Programs[h.program]; p != nil {
		return p
	}
	return d.xdp.Programs[h.program]
}

func (d *Datapath) path(h hook) string { return filepath.Join(d.dir, "links", h.String()) }

// linkVerb says what a hook lacks: nothing, a link, or this program on it.
func (d *Datapath) linkVerb(h hook) (string, error) {
	if d.filters(h) {
		return d.filterVerb(h)
	}
	l, err := link.LoadPinnedLink(d.path(h), nil)
	if errors.Is(err, os.ErrNotExist) {
		return "attach", nil
	} else if err != nil {
		return "", fmt.Errorf("read link %v: %w", h, err)
	}
	defer l.Close()
	info, err := l.Info()
	if err != nil {
		return "", fmt.Errorf("read link %v: %w", h, err)
	}
	id, err := programID(d.program(h))
	if err != nil {
		return "", err
	}
	if info.Program != id || severed(info) {
		return "update", nil
	}
	return "", nil
}

func programID(p *ebpf.Program) (ebpf.ProgramID, error) {
	info, err := p.Info()
	if err != nil {
		return 0, fmt.Errorf("read program %v: %w", p, err)
	}
	id, _ := info.ID()
	return id, nil
}

// severed: the device of a link is gone. Another may have its number by now.
func severed(info *link.Info) bool {
	if tcx := info.TCX(); tcx != nil {
		return tcx.Ifindex == 0
	}
	if xdp := info.XDP(); xdp != nil {
		return xdp.Ifindex == 0
	}
	return false
}

// attach puts the program on the hook: in one step when there is a link with
// a device, and anew when there is none.
func (d *Datapath) attach(h hook) error {
	if d.filters(h) {
		return d.attachFilter(h)
	}
	l, err := link.LoadPinnedLink(d.path(h), nil)
	if err == nil {
		defer l.Close()
		if err = l.Update(d.program(h)); !errors.Is(err, unix.ENOLINK) {
			return err
		}
		if err := unpin(d.path(h)); err != nil {
			return err
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		return err
	} else if d.attachEarly(h) {
		return nil
	}
	l, err = d.newLink(h)
	if err != nil {
		return err
	}
	defer l.Close()
	return l.Pin(d.path(h))
}

func (d *Datapath) newLink(h hook) (link.Link, error) {
	p := d.program(h)
	if p.Type() == ebpf.XDP {
		return attachXDP(p, h.ifindex)
	}
	return link.AttachTCX(link.TCXOptions{Program: p, Interface: h.ifindex, Attach: ebpf.AttachTCXIngress, Anchor: link.Head()})
}

// ErrNoNativeXDP is what a device is refused XDP with when its driver has
// none. The kernel's generic XDP is no substitute: it takes segments for
// frames that are too long, and bulk TCP stands still.
var ErrNoNativeXDP = errors.New("the driver of the device runs no XDP programs (generic XDP is not used): leave XDP off there")

// attachXDP tells a driver without XDP from one that refuses this program now.
func attachXDP(p *ebpf.Program, ifindex int) (link.Link, error) {
	l, err := link.AttachXDP(link.XDPOptions{Program: p, Interface: ifindex, Flags: link.XDPDriverMode})
	switch {
	case errors.Is(err, unix.EOPNOTSUPP):
		return nil, fmt.Errorf("%w: %w", ErrNoNativeXDP, err)
	case errors.Is(err, unix.ERANGE):
		return nil, fmt.Errorf("%w (the MTU is too large for XDP on this driver)", err)
	case errors.Is(err, unix.ENOSPC):
		return nil, fmt.Errorf("%w (too few receive queues for what the other end of the pair sends on)", err)
	case errors.Is(err, unix.EBUSY):
		return nil, fmt.Errorf("%w (another XDP program is attached)", err)
	}
	return l, err
}

// hasTCX asks the kernel, about a device that there cannot be.
func hasTCX(p *ebpf.Program) bool {
	l, err := link.AttachTCX(link.TCXOptions{Program: p, Interface: 1<<31 - 1, Attach: ebpf.AttachTCXIngress})
	if err == nil {
		l.Close()
	}
	return !errors.Is(err, ebpf.ErrNotSupported)
}

// unwanted says whether what a file of links/ stands for has to go.
func (d *Datapath) unwanted(name string, wanted map[string]bool) bool {
	r, err := recordOf(name)
	if err != nil {
		return !wanted[name] || d.clsact && !isXDP(name)
	}
	return !d.clsact && !d.isEarly(r.hook) || !wanted[r.hook]
}

// detachAt takes what a file stands for off its hook, and the file away.
// Absent is success. A link would go with its file too, but a moment later,
// when whoever attaches anew has already been told that it is there.
func detachAt(path string) error {
	if r, err := recordOf(filepath.Base(path)); err == nil {
		if err := r.detach(); err != nil {
			return err
		}
		return unpin(path)
	}
	l, err := link.LoadPinnedLink(path, nil)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	defer l.Close()
	if err := l.Detach(); err != nil && !errors.Is(err, unix.ENOLINK) {
		return err
	}
	return unpin(path)
}

// unpin takes a file away. Absent is success.
func unpin(path string) error {
	if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
