// SPDX-License-Identifier: Apache-2.0

package seccomp

import (
	"cmp"
	"slices"
)

// op is a comparison of an argument with a value.
type op uint8

const (
	opNE op = iota
	opLT
	opLE
	opEQ
	opGE
	opGT
	opMasked // (argument & mask) == value
)

// cond is one comparison. mask is all ones but for opMasked, and its upper
// half is clear where arguments have 32 bits.
type cond struct {
	arg         uint8
	op          op
	mask, value uint64
}

// fit cuts conditions to what an architecture's arguments hold, and leaves
// out those that say nothing. 32-bit architectures compare the low half of a
// value only, and bits of a value outside its mask are ignored: libseccomp
// does both, so profiles in use depend on it.
func fit(conds []cond, a *arch) []cond {
	out := make([]cond, 0, len(conds))
	for _, c := range conds {
		if !a.wide {
			c.mask, c.value = uint64(uint32(c.mask)), uint64(uint32(c.value))
		}
		c.value &= c.mask
		if c.mask != 0 {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(x, y cond) int { return cmp.Compare(x.arg, y.arg) })
	return out
}

// rule decides a call when all its conditions hold. They are sorted by
// argument, at most one each.
type rule struct {
	conds  []cond
	action uint32
	path   string // the entry of the profile
}

// extends: the rule has all conditions of another one, and perhaps more
// after them.
func (r rule) extends(s rule) bool {
	return len(r.conds) >= len(s.conds) && slices.Equal(r.conds[:len(s.conds)], s.conds)
}

// verdict is what happens to the calls of one number: the first rule that
// holds decides, else the action.
type verdict struct {
	rules  []rule
	action uint32
	always bool // the action is that of a rule without conditions
}

func (v verdict) equal(w verdict) bool {
	return v.action == w.action && slices.EqualFunc(v.rules, w.rules, func(a, b rule) bool {
		return a.action == b.action && slices.Equal(a.conds, b.conds)
	})
}

// add inserts a rule where libseccomp would test it, which matters where
// rules of different actions overlap. The first rule without conditions
// decides all calls, whatever other rules say. A rule is dropped when an
// earlier one with fewer conditions covers it, and is an error the other way
// round, when it takes calls from an earlier rule of another action: what
// its author meant is not to be guessed.
func (v *verdict) add(r rule) error {
	if v.always {
		return nil
	}
	if len(r.conds) == 0 {
		*v = verdict{action: r.action, always: true}
		return nil
	}
	for _, s := range v.rules {
		if r.extends(s) && (len(r.conds) > len(s.conds) || r.action == s.action) {
			return nil
		}
	}
	for _, s := range v.rules {
		if s.extends(r) && s.action != r.action {
			return invalid(r.path, "contradicts %s: same call and conditions, another action", s.path)
		}
	}
	if len(v.rules) == maxInsns {
		return invalid(r.path, "more than %d rules for one call, and the kernel takes as many instructions", maxInsns)
	}
	v.rules = slices.Insert(v.rules, v.place(r), r)
	return nil
}

// place is where a rule goes. Rules that begin with the same conditions stay
// together; the first condition in which r differs from one of them orders it
// among them.
func (v *verdict) place(r rule) int {
	lo, hi := 0, len(v.rules)
	for depth, c := range r.conds {
		at := lo
		for at < hi && len(v.rules[at].conds) > depth && v.rules[at].conds[depth] != c && !v.rules[at].conds[depth].after(c) {
			at++
		}
		end := at
		for end < hi && len(v.rules[end].conds) > depth && v.rules[end].conds[depth] == c {
			end++
		}
		lo, hi = at, end
		if at == end {
			return at
		}
	}
	return lo
}

// after says whether c is tested after d: conditions on later arguments come
// first; equality before upper before lower bounds; the narrower bound first.
// Otherwise they keep the order of the profile.
func (c cond) after(d cond) bool {
	if c.arg != d.arg {
		return c.arg < d.arg
	}
	if c.op.class() != d.op.class() {
		return c.op.class() > d.op.class()
	}
	switch c.op.class() {
	case classUpper:
		return c.value > d.value
	case classLower:
		return c.value < d.value
	}
	if c.value>>32 != d.value>>32 {
		return c.value>>32 < d.value>>32
	}
	// The lower halves matter when the upper ones are one test.
	oneTest := c.mask>>32 == 0 || (c.op == opMasked) == (d.op == opMasked)
	return c.mask>>32 == d.mask>>32 && oneTest && c.value < d.value
}

const (
	classEqual = iota
	classUpper
	classLower
)

func (o op) class() int {
	switch o {
	case opLT, opLE:
		return classUpper
	case opGE, opGT:
		return classLower
	}
	return classEqual
}
