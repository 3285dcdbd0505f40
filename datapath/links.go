// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// hook is a program on a device; its name is the file of its pinned link.
type hook struct {
	program string
	ifindex int
}

func (h hook) String() string { return fmt.Sprintf("%s-%d", h.program, h.ifindex) }

// hooks lists the programs that a State needs, in order.
func hooks(s State) (list []hook) {
	for _, e := range s.Endpoints {
		list = append(list, hook{"tc_endpoint", e.Ifindex})
		if e.XDP {
			list = append(list, hook{"xdp_endpoint", e.Ifindex})
		}
	}
	if s.Underlay.Ifindex > 0 {
		if s.Underlay.tunnel() > 0 {
			list = append(list, hook{"tc_tunnel", s.Underlay.Tunnel})
		} else {
			list = append(list, hook{"tc_uplink", s.Underlay.Ifindex})
		}
		if s.Underlay.XDP {
			list = append(list, hook{"xdp_uplink", s.Underlay.Ifindex})
		}
	}
	return list
}

// linkSteps compares the pinned links with what s needs.
func (d *Datapath) linkSteps(s State) (attach, detach []step, err error) {
	wanted := map[string]bool{}
	for _, h := range hooks(s) {
		wanted[h.String()] = true
		verb, err := d.linkVerb(h)
		if err != nil {
			return nil, nil, err
		}
		if verb != "" {
			attach = append(attach, step{Change{verb, "link", h.String()}, func() error { return d.attach(h) }})
		}
	}
	files, err := os.ReadDir(filepath.Join(d.dir, "links"))
	if err != nil {
		return nil, nil, fmt.Errorf("list links: %w", err)
	}
	for _, f := range files {
		if !wanted[f.Name()] {
			path := filepath.Join(d.dir, "links", f.Name())
			detach = append(detach, step{Change{"detach", "link", f.Name()}, func() error { return unpin(path) }})
		}
	}
	slices.SortFunc(attach, func(a, b step) int { return len(a.Key) - len(b.Key) })
	return attach, detach, nil
}

func (d *Datapath) program(h hook) *ebpf.Program {
	if p := d.tc.Programs[h.program]; p != nil {
		return p
	}
	return d.xdp.Programs[h.program]
}

func (d *Datapath) path(h hook) string { return filepath.Join(d.dir, "links", h.String()) }

// linkVerb says what a hook lacks: nothing, a link, or this program on it.
func (d *Datapath) linkVerb(h hook) (string, error) {
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
	mine, err := d.program(h).Info()
	if err != nil {
		return "", fmt.Errorf("read program %s: %w", h.program, err)
	}
	id, _ := mine.ID()
	if info.Program != id || severed(info) {
		return "update", nil
	}
	return "", nil
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
		return link.AttachXDP(link.XDPOptions{Program: p, Interface: h.ifindex, Flags: link.XDPDriverMode})
	}
	return link.AttachTCX(link.TCXOptions{Program: p, Interface: h.ifindex, Attach: ebpf.AttachTCXIngress, Anchor: link.Head()})
}

// unpin detaches, as nobody else holds the link. Absent is success.
func unpin(path string) error {
	if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
