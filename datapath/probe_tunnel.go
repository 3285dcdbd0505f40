// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cilium/ebpf"

	"foundry/bpf"
	"foundry/datapath/veth"
)

// tunnel tries one way of encapsulation, over each family that there is.
func (p *prober) tunnel(encap string) (err error) {
	l, err := newLab(p.found.Attach == "clsact")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	tunnels, err := l.arm(p.tc, encap)
	if err != nil {
		return err
	}
	families := []int{4}
	if l.ipv6 {
		families = append(families, 6)
	}
	for _, family := range families {
		if err := l.point(family, tunnels); err != nil {
			return err
		}
		if err := p.transfer(l.sides[0].inside, l.sides[1].inside, l.sides[1].address(family)); err != nil {
			return fmt.Errorf("over IPv%d: %w%s", family, err, p.drops(l))
		}
	}
	return nil
}

// arm attaches programs, and returns the numbers of the devices that
// encapsulate, or zeros.
func (l *lab) arm(read func() (*ebpf.CollectionSpec, error), encap string) (tunnels [2]int, err error) {
	for i, s := range l.sides {
		name, at := "tc_uplink", s.up.PeerIfindex
		if encap == EncapKernel {
			name = "tc_tunnel"
			if err := s.host.Do(func() error { at, err = veth.CollectMD("tunnel0", bpf.DefaultPort); return err }); err != nil {
				return tunnels, err
			}
			tunnels[i] = at
		}
		if s.maps, err = l.load(read, "tc_endpoint", name); err != nil {
			return tunnels, err
		}
		if err := put(s.maps, s.settings()); err != nil {
			return tunnels, err
		}
		for ifindex, program := range map[int]string{s.port.Ifindex: "tc_endpoint", at: name} {
			if _, err := l.hook(s.host, ifindex, s.maps.Programs[program]); err != nil {
				return tunnels, err
			}
		}
	}
	return tunnels, nil
}

// point sends each container's frames to the other's host over a family.
func (l *lab) point(family int, tunnels [2]int) error {
	for i, s := range l.sides {
		entries, err := s.behind(l.sides[1-i], family, tunnels[i])
		if err != nil {
			return err
		}
		if err := put(s.maps, entries); err != nil {
			return err
		}
	}
	return nil
}

// drops is what the programs dropped, for the text of an error.
func (p *prober) drops(l *lab) string {
	var list []string
	for _, s := range l.sides {
		if s.maps == nil {
			continue
		}
		for reason, name := range p.names.Reasons {
			var perCPU []bpf.Count
			slot := bpf.StatsSlot(bpf.TCActionACT_DROP, reason)
			if err := s.maps.Maps["stats_total"].Lookup(slot, &perCPU); err != nil {
				continue
			}
			var n uint64
			for _, c := range perCPU {
				n += c.Packets
			}
			if n > 0 {
				list = append(list, fmt.Sprintf("host %d dropped %d as %s", s.number, n, name))
			}
		}
	}
	if len(list) == 0 {
		return ""
	}
	slices.Sort(list)
	return " (" + strings.Join(list, ", ") + ")"
}

// framesBetween tries two endpoints of mode xdp on one host: the driver takes
// the program, and frames that are redirected arrive, which on a veth they do
// only when the other end has NAPI.
func (p *prober) framesBetween() (err error) {
	l := &lab{}
	defer func() { err = errors.Join(err, l.close()) }()
	host, err := l.namespace()
	if err != nil {
		return err
	}
	maps, err := l.load(bpf.LoadXDP, "xdp_endpoint")
	if err != nil {
		return err
	}
	for i := range l.sides {
		s := &side{host: host, number: byte(i + 1), maps: maps}
		l.sides[i] = s
		if s.inside, err = l.namespace(); err != nil {
			return err
		}
		s.port, err = veth.Create(veth.Config{Name: fmt.Sprintf("port%d", i), Host: host, NS: s.inside, MAC: [6]byte{2, 0, 0, 0, 0, s.number},
			MTU: portMTU, Addrs: l.prefixes(s.address), XDP: true})
		if err != nil {
			return err
		}
		if err := l.takeFrames(s); err != nil {
			return err
		}
	}
	if err := l.introduce(); err != nil {
		return err
	}
	err = p.transfer(l.sides[0].inside, l.sides[1].inside, l.sides[1].address(4))
	if err != nil {
		return fmt.Errorf("%w%s", err, p.drops(&lab{sides: [2]*side{l.sides[0], {}}}))
	}
	return nil
}

// takeFrames makes a port one of mode xdp. The kernel looks numbers of
// devices up where the caller is.
func (l *lab) takeFrames(s *side) error {
	return s.host.Do(func() error {
		on, err := attachXDP(s.maps.Programs["xdp_endpoint"], s.port.Ifindex)
		if err != nil {
			return fmt.Errorf("attach to a veth: %w", err)
		}
		l.later(on.Close)
		port := uint32(s.port.Ifindex)
		return put(s.maps, append(s.settings(), entry{"devs", port, &bpf.TCBpfDevmapVal{Ifindex: port}}))
	})
}

// introduce tells the maps of both ports.
func (l *lab) introduce() error {
	for i, s := range l.sides {
		port := uint32(s.port.Ifindex)
		entries := l.sides[1-i].knows(s, 4, bpf.FdbEntry{Type: bpf.TCFdbTypeFDB_LOCAL, Flags: bpf.TCFdbFlagFDB_XDP, Target: port, Endpoint: port})
		if err := put(s.maps, entries); err != nil {
			return err
		}
	}
	return nil
}
