// SPDX-License-Identifier: Apache-2.0

package seccomp

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// shape bounds what randomProfile makes.
type shape struct {
	ops   []specs.LinuxSeccompOperator
	once  bool                       // a call is in one entry, and has each argument once
	mixed bool                       // entries of one call have different actions
	more  []specs.LinuxSeccompAction // that entries may have, but no default
}

func operators() []specs.LinuxSeccompOperator {
	return []specs.LinuxSeccompOperator{specs.OpNotEqual, specs.OpLessThan, specs.OpLessEqual, specs.OpEqualTo,
		specs.OpGreaterEqual, specs.OpGreaterThan, specs.OpMaskedEqual}
}

// randomProfile makes a small profile over few calls and values, so that
// rules meet.
func randomProfile(r *rand.Rand, sh shape) *specs.LinuxSeccomp {
	actions := []specs.LinuxSeccompAction{specs.ActErrno, specs.ActAllow, specs.ActKill, specs.ActKillProcess,
		specs.ActTrap, specs.ActLog, specs.ActTrace}
	p := &specs.LinuxSeccomp{DefaultAction: pick(r, actions)}
	// No two of these are one call of a multiplexer.
	names := []string{"read", "write", "socket", "semop", "clone", "ioctl", "pidfd_open"}
	r.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	for i := range r.IntN(len(names)) {
		s := specs.LinuxSyscall{Names: []string{names[i]}, Action: specs.ActTrap}
		if !sh.once {
			s.Names = []string{pick(r, names), pick(r, names)}
		}
		if sh.mixed {
			s.Action = pick(r, append(actions, sh.more...))
		}
		if s.Action == specs.ActErrno {
			e := uint(r.IntN(200))
			s.ErrnoRet = &e
		}
		s.Args = randomArgs(r, sh)
		p.Syscalls = append(p.Syscalls, s)
	}
	return p
}

func randomArgs(r *rand.Rand, sh shape) (args []specs.LinuxSeccompArg) {
	vals := []uint64{0, 1, 2, 3, 8, 1 << 31, 1 << 32, 1<<32 | 1, 2 << 32, 0xffffffff, 1 << 63, ^uint64(0)}
	for i := range r.IntN(4) {
		arg := specs.LinuxSeccompArg{Index: uint(i), Op: pick(r, sh.ops), Value: pick(r, vals), ValueTwo: pick(r, vals)}
		if !sh.once {
			arg.Index = uint(r.IntN(3))
		}
		args = append(args, arg)
	}
	return args
}

func pick[T any](r *rand.Rand, list []T) T { return list[r.IntN(len(list))] }

func text(p *specs.LinuxSeccomp) string {
	b, err := json.MarshalIndent(p, "", " ")
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// calls is the part of a profile that concerns a call.
func calls(p *specs.LinuxSeccomp, d data) string {
	out := string(p.DefaultAction) + "\n"
	for _, s := range p.Syscalls {
		for _, name := range s.Names {
			for i := range arches {
				a := &arches[i]
				n, ok := a.number(name)
				through := uint32(0)
				if m := muxOf(name); a.mux && m != nil {
					through, _ = a.number(m.through)
				}
				if a.audit == d.arch && (ok && n == d.nr || through == d.nr) {
					out += fmt.Sprintf("%s %s %+v\n", name, s.Action, s.Args)
				}
			}
		}
	}
	return out
}
