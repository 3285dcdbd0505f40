// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// hook is a program on a device; its name is the file of its pinned link.
type hook struct {
	program string
	ifindex int
}

func (h hook) String() string { return fmt.Sprintf("%s-%d", h.program, h.ifindex) }

// attachOrder: endpoints before the uplink, so that what comes in by the
// uplink finds its receiver's program attached; and on one device tc before
// XDP, which leaves to tc what it cannot do itself.
func attachOrder(a, b hook) int {
	order := []string{"tc_endpoint", "xdp_endpoint", "tc_tunnel", "tc_uplink", "xdp_uplink"}
	return cmp.Or(cmp.Compare(slices.Index(order, a.program), slices.Index(order, b.program)), cmp.Compare(a.ifindex, b.ifindex))
}

func (e Endpoint) hooks() []hook {
	list := []hook{{"tc_endpoint", e.Ifindex}}
	if e.XDP {
		list = append(list, hook{"xdp_endpoint", e.Ifindex})
	}
	return list
}

func (u Underlay) hooks() (list []hook) {
	if u.Ifindex <= 0 {
		return nil
	}
	if u.tunnel() > 0 {
		list = append(list, hook{"tc_tunnel", u.Tunnel})
	} else {
		list = append(list, hook{"tc_uplink", u.Ifindex})
	}
	if u.XDP {
		list = append(list, hook{"xdp_uplink", u.Ifindex})
	}
	return list
}

// linkSteps compares what is attached with what a draft wants, of all hooks or
// of those that it touches.
func (d *Datapath) linkSteps(want *draft) (attach, detach []step, err error) {
	wanted := map[string]bool{}
	var hooks, unwanted []hook
	for h, on := range want.hooks {
		if on {
			wanted[h.String()], hooks = true, append(hooks, h)
		} else {
			unwanted = append(unwanted, h)
		}
	}
	slices.SortFunc(hooks, attachOrder)
	for _, h := range hooks {
		verb, err := d.linkVerb(h)
		if err != nil {
			return nil, nil, err
		}
		if verb != "" {
			attach = append(attach, d.attachStep(verb, h))
		}
	}
	if want.whole {
		detach, err = d.detachOthers(wanted)
		return attach, detach, err
	}
	slices.SortFunc(unwanted, attachOrder)
	for _, h := range slices.Backward(unwanted) {
		steps, err := d.detachSteps(h)
		if err != nil {
			return nil, nil, err
		}
		detach = append(detach, steps...)
	}
	return attach, detach, nil
}

func (d *Datapath) attachStep(verb string, h hook) step {
	s := linkStep(verb, h.String(), func() error { return d.attach(h) })
	if verb == "attach" {
		s.undo = func() error {
			steps, err := d.detachSteps(h)
			if err != nil {
				return err
			}
			_, _, err = apply(steps)
			return err
		}
	}
	return s
}

// linkStep is a step of one change.
func linkStep(verb, name string, do func() error) step {
	return step{verb: verb, object: "link", n: 1, key: func(int) string { return name }, do: func() (int, error) {
		if err := do(); err != nil {
			return 0, fmt.Errorf("%s: %w", name, err)
		}
		return 1, nil
	}}
}

// detachOthers takes off whatever is not wanted.
func (d *Datapath) detachOthers(wanted map[string]bool) (detach []step, err error) {
	files, err := os.ReadDir(filepath.Join(d.dir, linksDir))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("list links: %w", err)
	}
	for _, f := range files {
		if d.unwanted(f.Name(), wanted) {
			path := filepath.Join(d.dir, linksDir, f.Name())
			detach = append(detach, linkStep("detach", f.Name(), func() error { return detachAt(path) }))
		}
	}
	return detach, nil
}

// detachSteps takes what there is off one hook.
func (d *Datapath) detachSteps(h hook) (detach []step, err error) {
	files := []string{d.path(h)}
	if d.filters(h) {
		records, err := d.records(h)
		if err != nil {
			return nil, err
		}
		files = files[:0]
		for _, path := range records {
			files = append(files, path)
		}
	}
	for _, path := range files {
		if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
			continue
		}
		name := filepath.Base(path)
		if d.isEarly(h.String()) {
			name = h.String() // a link to be
		}
		s := linkStep("detach", name, func() error { return detachAt(path) })
		s.undo = func() error { return d.attach(h) }
		detach = append(detach, s)
	}
	return detach, nil
}
