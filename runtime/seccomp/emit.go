// SPDX-License-Identifier: Apache-2.0

package seccomp

// emit writes a whole filter: the architecture chooses a section, a binary
// search over the call number a verdict, and the verdict's rules compare the
// arguments. The first section is put last, so it comes first and its
// jumps are the short ones: it is the native one.
func emit(sections []section) *assembler {
	a := &assembler{}
	entries := make([]label, len(sections))
	for i := len(sections) - 1; i >= 0; i-- {
		e := emitter{asm: a, arch: sections[i].members[0].arch}
		entries[i] = a.load(offsetNumber, e.search(sections[i].segments()))
	}
	next := a.ret(retKillThread) // the call of another architecture
	for i := len(sections) - 1; i >= 0; i-- {
		next = a.branch(bpfJEQ, sections[i].audit, entries[i], next)
	}
	a.load(offsetArch, next)
	return a
}

// emitter writes one section. x32 passes as x86_64 here: which half of an
// argument counts is in the masks of the conditions.
type emitter struct {
	asm  *assembler
	arch *arch
}

// search puts a balanced tree over segments. A holds the number.
func (e *emitter) search(list []segment) label {
	if len(list) == 1 {
		return e.verdict(list[0].verdict)
	}
	middle := len(list) / 2
	above := e.search(list[middle:])
	below := e.search(list[:middle])
	return e.asm.branch(bpfJGE, list[middle].start, above, below)
}

// verdict puts the rules of one call in their order, from the last on.
func (e *emitter) verdict(v verdict) label {
	next := e.asm.ret(v.action)
	for end := len(v.rules); end > 0; {
		start := end - 1
		for start > 0 && sameHigh(v.rules[start-1], v.rules[start]) {
			start--
		}
		next = e.rules(v.rules[start:end], next)
		end = start
	}
	return next
}

// sameHigh: both rules compare one argument for equality with values of the
// same upper half, for the same action. A list of them needs one load of each
// half; a list of allowed socket families is the usual one.
func sameHigh(r, s rule) bool {
	if len(r.conds) != 1 || len(s.conds) != 1 || r.action != s.action {
		return false
	}
	c, d := r.conds[0], s.conds[0]
	return c.op == opEQ && d.op == opEQ && c.arg == d.arg && c.mask == d.mask && c.value>>32 == d.value>>32
}

// rules puts one rule, or several that are pairwise sameHigh.
func (e *emitter) rules(list []rule, otherwise label) label {
	holds := e.asm.ret(list[0].action)
	if len(list) == 1 {
		for i := len(list[0].conds) - 1; i >= 0; i-- {
			holds = e.cond(list[0].conds[i], holds, otherwise)
		}
		return holds
	}
	next := otherwise
	for i := len(list) - 1; i >= 0; i-- {
		next = e.asm.branch(bpfJEQ, uint32(list[i].conds[0].value), holds, next)
	}
	c := list[0].conds[0]
	next = e.low(c, next)
	if c.mask>>32 != 0 {
		next = e.high(c, e.asm.branch(bpfJEQ, uint32(c.value>>32), next, otherwise))
	}
	return next
}

// low and high load half an argument, masked, in front of next.
func (e *emitter) low(c cond, next label) label { return e.half(c, uint32(c.mask), false, next) }

func (e *emitter) high(c cond, next label) label { return e.half(c, uint32(c.mask>>32), true, next) }

func (e *emitter) half(c cond, mask uint32, high bool, next label) label {
	if mask != ^uint32(0) {
		next = e.asm.put(insn{code: bpfAnd, k: mask})
	}
	return e.asm.load(e.arch.argOffset(c.arg, high), next)
}

// cond puts one comparison, which goes on at t when it holds, else at f.
func (e *emitter) cond(c cond, t, f label) label {
	switch c.op {
	case opEQ, opMasked:
		return e.equal(c, t, f)
	case opNE:
		return e.equal(c, f, t)
	case opGT:
		return e.above(c, bpfJGT, t, f)
	case opGE:
		return e.above(c, bpfJGE, t, f)
	case opLE:
		return e.above(c, bpfJGT, f, t)
	default: // opLT
		return e.above(c, bpfJGE, f, t)
	}
}

// equal compares the half that has a mask, or both.
func (e *emitter) equal(c cond, t, f label) label {
	if uint32(c.mask) != 0 {
		t = e.low(c, e.asm.branch(bpfJEQ, uint32(c.value), t, f))
	}
	if c.mask>>32 != 0 {
		t = e.high(c, e.asm.branch(bpfJEQ, uint32(c.value>>32), t, f))
	}
	return t
}

// above compares the lower half only when the upper ones are equal.
func (e *emitter) above(c cond, code uint16, t, f label) label {
	next := e.low(c, e.asm.branch(code, uint32(c.value), t, f))
	if c.mask>>32 != 0 {
		next = e.asm.branch(bpfJEQ, uint32(c.value>>32), next, f)
		next = e.high(c, e.asm.branch(bpfJGT, uint32(c.value>>32), t, next))
	}
	return next
}
