// SPDX-License-Identifier: Apache-2.0

package datapath

import (
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
		if d.unwanted(f.Name(), wanted) {
			path := filepath.Join(d.dir, "links", f.Name())
			detach = append(detach, step{Change{"detach", "link", f.Name()}, func() error { return detachAt(path) }})
		}
	}
	slices.SortFunc(attach, func(a, b step) int { return len(a.Key) - len(b.Key) })
	return attach, detach, nil
}
