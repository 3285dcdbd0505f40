// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"foundry/bpf"
)

// Capability is one thing that was found out about a host.
type Capability struct {
	Name   string
	Value  string // what is there, or in use
	Reason string // why it is not the best there is; empty: it is
}

// Capabilities are what the kernel of this host can do for the data plane.
type Capabilities struct {
	Kernel string
	Attach string // "tcx" or "clsact"
	Encap  string // EncapBPF or EncapKernel
	XDP    bool   // endpoints may be of mode xdp
	List   []Capability
}

// Probe finds out what this host can do, by doing it: two hosts are made of
// network namespaces that have no names, and between containers of theirs
// more than fits into one segment is sent by TCP, through the programs. A
// kernel where only what is small arrives is found out here, and not by a
// user. Nothing of it is left when Probe returns, and nothing of the host is
// touched. It fails when no encapsulation works, and says what became of each.
func Probe(ctx context.Context) (Capabilities, error) {
	p, err := newProber(ctx)
	if err != nil {
		return Capabilities{}, fmt.Errorf("probe data plane: %w", err)
	}
	err = p.all()
	if err != nil {
		err = fmt.Errorf("probe data plane: %w", err)
	}
	return p.found, err
}

func (p *prober) all() error {
	p.kernel()
	p.attaching()
	p.helpers()
	err := p.encapsulation()
	p.frames()
	return err
}

// String is a table: name, value, reason.
func (c Capabilities) String() string {
	var s strings.Builder
	w := tabwriter.NewWriter(&s, 0, 0, 2, ' ', 0)
	for _, one := range c.List {
		fmt.Fprintf(w, "%s\t%s\t%s\n", one.Name, one.Value, one.Reason)
	}
	w.Flush()
	lines := strings.Split(s.String(), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}

// prober collects what is found.
type prober struct {
	ctx   context.Context // of one call of Probe
	names bpf.Names
	tc    func() (*ebpf.CollectionSpec, error) // another one in tests
	found Capabilities
}

func newProber(ctx context.Context) (*prober, error) {
	spec, err := bpf.LoadTC()
	if err != nil {
		return nil, err
	}
	names, err := bpf.ReadNames(spec)
	return &prober{ctx: ctx, names: names, tc: bpf.LoadTC}, err
}

func (p *prober) add(name, value, reason string) {
	p.found.List = append(p.found.List, Capability{name, value, reason})
}

// yes adds what either works or does not, and why.
func (p *prober) yes(name string, err error) bool {
	if err != nil {
		p.add(name, "no", err.Error())
		return false
	}
	p.add(name, "yes", "")
	return true
}

func (p *prober) kernel() {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		p.add("kernel", "unknown", err.Error())
		return
	}
	p.found.Kernel = unix.ByteSliceToString(u.Release[:])
	p.add("kernel", p.found.Kernel, "")
}

func (p *prober) attaching() {
	p.found.Attach = "clsact"
	switch has, err := kernelTCX(); {
	case err != nil:
		p.add("attach", "clsact", err.Error())
	case !has:
		p.add("attach", "clsact", "the kernel has no tcx: needs 6.6")
	default:
		p.found.Attach = "tcx"
		p.add("attach", "tcx", "")
	}
}

// encapsulation tries the programs first, and the kernel's device when they
// do not do. Both are judged over IPv4, and over IPv6 where there is any.
func (p *prober) encapsulation() error {
	var errs []error
	for _, encap := range []string{EncapBPF, EncapKernel} {
		err := p.tunnel(encap)
		if err == nil {
			p.found.Encap = encap
			p.add("encap", encap, reason(errs))
			return nil
		}
		errs = append(errs, fmt.Errorf("encap %s: %w", encap, err))
	}
	p.add("encap", "none", reason(errs))
	return errors.Join(errs...)
}

func reason(errs []error) string {
	if len(errs) == 0 {
		return ""
	}
	return strings.ReplaceAll(errors.Join(errs...).Error(), "\n", "; ")
}

// frames tries endpoints of mode xdp.
func (p *prober) frames() {
	p.found.XDP = p.yes("xdp on veth", p.framesBetween())
}
