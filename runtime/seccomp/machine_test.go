// SPDX-License-Identifier: Apache-2.0

package seccomp

import (
	"encoding/binary"
	"fmt"
)

// data is struct seccomp_data: one call as a filter sees it.
type data struct {
	nr, arch uint32
	args     [maxArgs]uint64
}

// words is the memory of a call on a machine of a byte order.
func (d *data) words(order binary.ByteOrder) (mem [64]byte) {
	order.PutUint32(mem[0:], d.nr)
	order.PutUint32(mem[4:], d.arch)
	for i, v := range d.args {
		order.PutUint64(mem[16+8*i:], v)
	}
	return mem
}

// machine runs filters as the kernel would. x/net/bpf's machine does not do:
// to it the data is a packet, so it loads in network order.
type machine struct {
	code  []insn
	order binary.ByteOrder
}

func newMachine(a *assembler, native *arch) machine {
	m := machine{order: binary.LittleEndian}
	if native.big {
		m.order = binary.BigEndian
	}
	for i := len(a.code) - 1; i >= 0; i-- {
		m.code = append(m.code, a.code[i])
	}
	return m
}

// run answers a call. The program has passed check, so it ends.
func (m machine) run(d data) uint32 {
	mem := d.words(m.order)
	var acc uint32
	for pc := 0; ; pc++ {
		i := m.code[pc]
		jump := func(holds bool) {
			if holds {
				pc += int(i.jt)
			} else {
				pc += int(i.jf)
			}
		}
		switch i.code {
		case bpfLoad:
			acc = m.order.Uint32(mem[i.k:])
		case bpfAnd:
			acc &= i.k
		case bpfJump:
			pc += int(i.k)
		case bpfJEQ:
			jump(acc == i.k)
		case bpfJGT:
			jump(acc > i.k)
		case bpfJGE:
			jump(acc >= i.k)
		case bpfJSet:
			jump(acc&i.k != 0)
		case bpfRet:
			return i.k
		default:
			panic(fmt.Sprintf("instruction %d: code %#x", pc, i.code))
		}
	}
}

// bpfJSet is used by libseccomp's programs, not by ours.
const bpfJSet = 0x45

// check mimics what the kernel demands of a filter: bpf_check_classic and
// seccomp_check_filter. All its scratch memory rules are moot, we use none.
func check(code []insn) error {
	if len(code) == 0 || len(code) > maxInsns {
		return fmt.Errorf("%d instructions", len(code))
	}
	for pc, i := range code {
		after := len(code) - pc - 1 // instructions that follow
		switch i.code {
		case bpfLoad:
			if i.k%4 != 0 || i.k >= 64 {
				return fmt.Errorf("instruction %d: load from %d", pc, i.k)
			}
		case bpfAnd, bpfRet:
		case bpfJump:
			if i.k >= uint32(after) {
				return fmt.Errorf("instruction %d: jump by %d of %d", pc, i.k, after)
			}
		case bpfJEQ, bpfJGT, bpfJGE, bpfJSet:
			if int(i.jt) >= after || int(i.jf) >= after {
				return fmt.Errorf("instruction %d: jump by %d or %d of %d", pc, i.jt, i.jf, after)
			}
		default:
			return fmt.Errorf("instruction %d: code %#x", pc, i.code)
		}
	}
	if last := code[len(code)-1]; last.code != bpfRet {
		return fmt.Errorf("last instruction has code %#x", last.code)
	}
	return nil
}
