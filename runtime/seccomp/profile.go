// SPDX-License-Identifier: Apache-2.0

package seccomp

import (
	"fmt"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// ProfileError says which property of a profile cannot be compiled.
type ProfileError struct {
	Path  string // as in config.json: linux.seccomp.syscalls[3].action
	Cause error
}

func (e *ProfileError) Error() string { return e.Path + ": " + e.Cause.Error() }

func (e *ProfileError) Unwrap() error { return e.Cause }

func invalid(path, format string, args ...any) error {
	return &ProfileError{Path: "linux.seccomp." + path, Cause: fmt.Errorf(format, args...)}
}

// What the kernel does with a call (linux/seccomp.h). The low 16 bits of
// retErrno and retTrace are data.
const (
	retKillThread  = 0x00000000
	retKillProcess = 0x80000000
	retTrap        = 0x00030000
	retErrno       = 0x00050000
	retNotify      = 0x7fc00000
	retTrace       = 0x7ff00000
	retLog         = 0x7ffc0000
	retAllow       = 0x7fff0000

	retAction = 0xffff0000
)

const (
	eperm  = 1
	enosys = 38
)

// Flags of seccomp(2).
const (
	flagTSYNC        = 1 << 0
	flagLog          = 1 << 1
	flagSpecAllow    = 1 << 2
	flagWaitKillable = 1 << 5
)

// maxArgs is how many arguments a system call has.
const maxArgs = 6

// profile is a checked profile, still by name and for all architectures.
type profile struct {
	action uint32 // of calls without a rule
	arches []*arch
	calls  []call
	flags  uint64
	notify bool // a rule asks an agent
	newest bool // calls after the newest one of the profile are unknown: ENOSYS
}

// call is one name of one entry of the profile's syscalls.
type call struct {
	name   string
	action uint32
	// redundant: the action is the default one. Such an entry makes no rule,
	// not even one that would shadow another; its name counts as known.
	redundant bool
	alts      [][]cond // any of these lists holds; none: always
	path      string
}

func parse(p *specs.LinuxSeccomp, native *arch) (*profile, error) {
	if p.ListenerMetadata != "" && p.ListenerPath == "" {
		return nil, invalid("listenerMetadata", "set without listenerPath")
	}
	if p.DefaultAction == specs.ActNotify {
		return nil, invalid("defaultAction", "%s cannot be the default: an agent would have to answer for every call", p.DefaultAction)
	}
	action, err := parseAction(p.DefaultAction, p.DefaultErrnoRet, "defaultAction", "defaultErrnoRet")
	if err != nil {
		return nil, err
	}
	out := &profile{action: action, newest: !permissive(action)}
	if out.flags, err = parseFlags(p.Flags); err != nil {
		return nil, err
	}
	if out.arches, err = parseArches(p.Architectures, native); err != nil {
		return nil, err
	}
	for i := range p.Syscalls {
		if err := out.add(&p.Syscalls[i], fmt.Sprintf("syscalls[%d]", i)); err != nil {
			return nil, err
		}
	}
	if !out.notify {
		out.flags &^= flagWaitKillable // profiles have it regardless; the kernel takes it with a listener only
	}
	return out, nil
}

// permissive actions let a call through (or to a tracer, which must cope with
// calls it does not know itself), so unknown calls need no ENOSYS.
func permissive(action uint32) bool {
	switch action & retAction {
	case retAllow, retLog, retTrace:
		return true
	}
	return false
}

func parseAction(a specs.LinuxSeccompAction, errno *uint, path, errnoPath string) (uint32, error) {
	data := uint32(eperm)
	if errno != nil && (a == specs.ActErrno || a == specs.ActTrace) {
		if *errno > 0xffff {
			return 0, invalid(errnoPath, "%d is more than 16 bits", *errno)
		}
		data = uint32(*errno)
	}
	switch a {
	case specs.ActKill, specs.ActKillThread:
		return retKillThread, nil
	case specs.ActKillProcess:
		return retKillProcess, nil
	case specs.ActTrap:
		return retTrap, nil
	case specs.ActErrno:
		return retErrno | data, nil
	case specs.ActTrace:
		return retTrace | data, nil
	case specs.ActLog:
		return retLog, nil
	case specs.ActAllow:
		return retAllow, nil
	case specs.ActNotify:
		return retNotify, nil
	}
	return 0, invalid(path, "unknown action %q", a)
}

// parseFlags gives the flags for seccomp(2). A profile without the property
// (as opposed to an empty list) keeps the speculative store bypass mitigation
// off, as every runtime has done since the kernel no longer ties the two.
func parseFlags(flags []specs.LinuxSeccompFlag) (uint64, error) {
	if flags == nil {
		return flagSpecAllow, nil
	}
	var mask uint64
	for i, f := range flags {
		switch f {
		case "SECCOMP_FILTER_FLAG_TSYNC":
			mask |= flagTSYNC
		case specs.LinuxSeccompFlagLog:
			mask |= flagLog
		case specs.LinuxSeccompFlagSpecAllow:
			mask |= flagSpecAllow
		case specs.LinuxSeccompFlagWaitKillableRecv:
			mask |= flagWaitKillable
		default:
			return 0, invalid(fmt.Sprintf("flags[%d]", i), "unknown flag %q", f)
		}
	}
	return mask, nil
}

// parseArches gives the architectures of the profile and the native one,
// which is always among them and comes first.
func parseArches(names []specs.Arch, native *arch) ([]*arch, error) {
	list := []*arch{native}
	for i, name := range names {
		a := archByName(name)
		switch {
		case a == nil:
			return nil, invalid(fmt.Sprintf("architectures[%d]", i), "unknown architecture %q", name)
		case a.big != native.big:
			return nil, invalid(fmt.Sprintf("architectures[%d]", i),
				"%s has another byte order than %s, where this runs", name, native.name)
		case a.column != noColumn && !contains(list, a):
			list = append(list, a)
		}
	}
	return list, nil
}

func contains(list []*arch, a *arch) bool {
	for _, b := range list {
		if a == b {
			return true
		}
	}
	return false
}

func (p *profile) add(s *specs.LinuxSyscall, path string) error {
	action, err := parseAction(s.Action, s.ErrnoRet, path+".action", path+".errnoRet")
	if err != nil {
		return err
	}
	alts, err := parseArgs(s.Args, path)
	if err != nil {
		return err
	}
	p.notify = p.notify || action == retNotify && action != p.action && len(s.Names) > 0
	for i, name := range s.Names {
		if name == "" {
			return invalid(fmt.Sprintf("%s.names[%d]", path, i), "empty name")
		}
		p.calls = append(p.calls, call{name: name, action: action, redundant: action == p.action, alts: alts, path: path})
	}
	return nil
}

// parseArgs gives the alternatives of one entry. Its conditions must hold
// together, unless two are about the same argument: then each stands alone
// (runc does so since before the spec said anything, and profiles rely on it).
func parseArgs(args []specs.LinuxSeccompArg, path string) ([][]cond, error) {
	conds := make([]cond, 0, len(args))
	seen, twice := [maxArgs]bool{}, false
	for i, a := range args {
		at := fmt.Sprintf("%s.args[%d]", path, i)
		if a.Index >= maxArgs {
			return nil, invalid(at+".index", "%d: a system call has %d arguments, counted from 0", a.Index, maxArgs)
		}
		c := cond{arg: uint8(a.Index), mask: ^uint64(0), value: a.Value}
		switch a.Op {
		case specs.OpNotEqual:
			c.op = opNE
		case specs.OpLessThan:
			c.op = opLT
		case specs.OpLessEqual:
			c.op = opLE
		case specs.OpEqualTo:
			c.op = opEQ
		case specs.OpGreaterEqual:
			c.op = opGE
		case specs.OpGreaterThan:
			c.op = opGT
		case specs.OpMaskedEqual:
			c.op, c.mask, c.value = opMasked, a.Value, a.ValueTwo
		default:
			return nil, invalid(at+".op", "unknown operator %q", a.Op)
		}
		twice = twice || seen[a.Index]
		seen[a.Index] = true
		conds = append(conds, c)
	}
	if !twice {
		return alternatives(conds), nil
	}
	alts := make([][]cond, len(conds))
	for i := range conds {
		alts[i] = conds[i : i+1]
	}
	return alts, nil
}

func alternatives(conds []cond) [][]cond {
	if len(conds) == 0 {
		return nil
	}
	return [][]cond{conds}
}
