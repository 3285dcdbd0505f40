// SPDX-License-Identifier: Apache-2.0

package seccomp

import (
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// reader answers calls by reading the profile, rule by rule: what the spec
// says, with runc's and libseccomp's additions, in the plainest way. It
// shares nothing with the compiler but the tables.
type reader struct {
	p      *specs.LinuxSeccomp
	native *arch
	newest map[*arch]uint32
}

func newReader(p *specs.LinuxSeccomp, native *arch) reader {
	r := reader{p: p, native: native, newest: map[*arch]uint32{}}
	for i := range arches {
		r.newest[&arches[i]] = newestNumber(p, &arches[i])
	}
	return r
}

// interpret gives the action of the rule that holds. Where several rules of
// different actions hold, it gives all of them.
func (r reader) interpret(d data) (answers []uint32) {
	p := r.p
	a := whose(p, r.native, d)
	if a == nil {
		return []uint32{retKillThread}
	}
	otherwise := action(p.DefaultAction, p.DefaultErrnoRet)
	if r.stub(a, d) {
		return []uint32{retErrno | enosys}
	}
	if d.arch == archByName(specs.ArchX86_64).audit && d.nr >= x32Bit && d.nr != ^uint32(0) &&
		!slices.Contains(p.Architectures, specs.ArchX32) {
		return []uint32{retKillThread}
	}
	for _, s := range p.Syscalls {
		act := action(s.Action, s.ErrnoRet)
		if act == otherwise {
			continue
		}
		for _, name := range s.Names {
			switch matches(a, name, s.Args, d) {
			case always:
				return []uint32{act}
			case byArgs:
				answers = append(answers, act)
			}
		}
	}
	if len(answers) == 0 {
		return []uint32{otherwise}
	}
	return answers
}

// whose is the architecture that made a call, nil if the profile lacks it.
func whose(p *specs.LinuxSeccomp, native *arch, d data) *arch {
	listed := append([]specs.Arch{native.name}, p.Architectures...)
	var found *arch
	for _, name := range listed {
		a := archByName(name)
		if a.column == noColumn || a.audit != d.arch {
			continue
		}
		if found == nil || a.name == specs.ArchX32 && d.nr&x32Bit != 0 ||
			a.name == specs.ArchX86_64 && d.nr&x32Bit == 0 {
			found = a
		}
	}
	return found
}

// stub is runc's rule: a call that is newer than all that the profile names
// does not exist.
func (r reader) stub(a *arch, d data) bool {
	switch r.p.DefaultAction {
	case specs.ActAllow, specs.ActLog, specs.ActTrace:
		return false
	}
	if x32 := d.nr&x32Bit != 0; a.name == specs.ArchX86_64 && x32 {
		return false
	}
	newest := r.newest[a]
	return newest > 0 && (d.nr > newest || a.name == specs.ArchS390X && d.nr == 0)
}

func newestNumber(p *specs.LinuxSeccomp, a *arch) (newest uint32) {
	for _, s := range p.Syscalls {
		for _, name := range s.Names {
			if n, ok := a.number(name); ok && (!a.mux || muxOf(name) == nil) {
				newest = max(newest, n)
			}
		}
	}
	return newest
}

func action(a specs.LinuxSeccompAction, errno *uint) uint32 {
	data := uint32(eperm)
	if errno != nil {
		data = uint32(*errno)
	}
	return map[specs.LinuxSeccompAction]uint32{
		specs.ActKill: retKillThread, specs.ActKillThread: retKillThread, specs.ActKillProcess: retKillProcess,
		specs.ActTrap: retTrap, specs.ActErrno: retErrno | data, specs.ActTrace: retTrace | data,
		specs.ActLog: retLog, specs.ActAllow: retAllow, specs.ActNotify: retNotify,
	}[a]
}

type match int

const (
	never match = iota
	byArgs
	always
)

func matches(a *arch, name string, args []specs.LinuxSeccompArg, d data) match {
	if n, ok := a.number(name); ok && n == d.nr {
		return hold(a, args, d)
	}
	m := muxOf(name)
	if !a.mux || m == nil {
		return never
	}
	if n, _ := a.number(m.through); n != d.nr {
		return never
	}
	selector := specs.LinuxSeccompArg{Index: 0, Op: specs.OpEqualTo, Value: m.selector}
	if twice(args) {
		for _, arg := range args {
			if holds(a, selector, d) && (arg.Index == 0 || holds(a, arg, d)) {
				return byArgs
			}
		}
		return never
	}
	rest := slices.DeleteFunc(slices.Clone(args), func(arg specs.LinuxSeccompArg) bool { return arg.Index == 0 })
	return hold(a, append(rest, selector), d)
}

// hold says whether the arguments of an entry hold, and whether they can fail.
func hold(a *arch, args []specs.LinuxSeccompArg, d data) match {
	all, some, empty := true, false, true
	for _, arg := range args {
		trivial := arg.Op == specs.OpMaskedEqual && (arg.Value == 0 || !a.wide && uint32(arg.Value) == 0)
		if trivial && twice(args) {
			return always
		}
		empty = empty && trivial
		h := holds(a, arg, d)
		all, some = all && h, some || h
	}
	switch {
	case empty:
		return always
	case all, some && twice(args):
		return byArgs
	}
	return never
}

func twice(args []specs.LinuxSeccompArg) bool {
	for i, a := range args {
		for _, b := range args[:i] {
			if a.Index == b.Index {
				return true
			}
		}
	}
	return false
}

func holds(a *arch, arg specs.LinuxSeccompArg, d data) bool {
	v, value, two := d.args[arg.Index], arg.Value, arg.ValueTwo
	if !a.wide {
		v, value, two = uint64(uint32(v)), uint64(uint32(value)), uint64(uint32(two))
	}
	switch arg.Op {
	case specs.OpNotEqual:
		return v != value
	case specs.OpLessThan:
		return v < value
	case specs.OpLessEqual:
		return v <= value
	case specs.OpEqualTo:
		return v == value
	case specs.OpGreaterEqual:
		return v >= value
	case specs.OpGreaterThan:
		return v > value
	}
	return v&value == two&value
}
