// SPDX-License-Identifier: Apache-2.0

package seccomp

import "encoding/binary"

// insn is struct sock_filter of linux/filter.h.
type insn struct {
	code   uint16
	jt, jf uint8
	k      uint32
}

// The instructions that seccomp allows and we need (linux/bpf_common.h).
const (
	bpfLoad = 0x20 // A = 32-bit word of seccomp_data at k
	bpfAnd  = 0x54 // A &= k
	bpfJump = 0x05 // skip k
	bpfJEQ  = 0x15 // skip jt if A == k, else jf
	bpfJGT  = 0x25
	bpfJGE  = 0x35
	bpfRet  = 0x06 // return k
)

// Where seccomp_data has its first two words.
const (
	offsetNumber = 0
	offsetArch   = 4
)

// maxInsns is BPF_MAXINSNS.
const maxInsns = 4096

// label is the place of an instruction, counted from the program's end.
type label int

// assembler builds a program from its last instruction to its first. Jumps
// only go forward, so every target has its place before the jump that needs
// it, and no distance is ever guessed.
type assembler struct {
	code []insn // last instruction first
	rets map[uint32]label
}

func (a *assembler) put(i insn) label {
	a.code = append(a.code, i)
	return label(len(a.code) - 1)
}

// skip is the offset with which the instruction put next reaches l.
func (a *assembler) skip(l label) int { return len(a.code) - 1 - int(l) }

// ret is an instruction that returns an action: the last one put, however far.
func (a *assembler) ret(action uint32) label {
	if l, ok := a.rets[action]; ok {
		return l
	}
	if a.rets == nil {
		a.rets = map[uint32]label{}
	}
	l := a.put(insn{code: bpfRet, k: action})
	a.rets[action] = l
	return l
}

// near gives a label that an 8-bit offset reaches and that leads to l: l
// itself, a copy of it when it returns, else a long jump.
func (a *assembler) near(l label) label {
	if a.skip(l) <= 0xff {
		return l
	}
	if i := a.code[l]; i.code == bpfRet {
		delete(a.rets, i.k)
		return a.ret(i.k)
	}
	return a.put(insn{code: bpfJump, k: uint32(a.skip(l))})
}

// branch puts a conditional jump.
func (a *assembler) branch(code uint16, k uint32, t, f label) label {
	t = a.near(t)
	f = a.near(f)
	t = a.near(t) // what f needed can have moved t out of reach
	return a.put(insn{code: code, k: k, jt: uint8(a.skip(t)), jf: uint8(a.skip(f))})
}

// load puts a load that goes on at next.
func (a *assembler) load(offset uint32, next label) label {
	if a.skip(next) != 0 {
		a.put(insn{code: bpfJump, k: uint32(a.skip(next))})
	}
	return a.put(insn{code: bpfLoad, k: offset})
}

// bytes is the program as the kernel of this machine reads it.
func (a *assembler) bytes() []byte {
	out := make([]byte, 0, 8*len(a.code))
	for i := len(a.code) - 1; i >= 0; i-- {
		c := a.code[i]
		out = binary.NativeEndian.AppendUint16(out, c.code)
		out = append(out, c.jt, c.jf)
		out = binary.NativeEndian.AppendUint32(out, c.k)
	}
	return out
}
