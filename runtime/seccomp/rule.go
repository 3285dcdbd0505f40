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

// cond is one comparison. mask is all ones but for opMasked.
type cond struct {
	arg         uint8
	op          op
	mask, value uint64
}

// rule decides a call when all its conditions hold. They are sorted by
// argument, at most one each.
type rule struct {
	conds  []cond
	action uint32
	path   string
}

// verdict is what happens to the calls of one number: the first rule that
// holds decides, else the action.
type verdict struct {
	rules  []rule
	action uint32
}

func (v verdict) equal(w verdict) bool {
	return v.action == w.action && slices.EqualFunc(v.rules, w.rules, func(a, b rule) bool {
		return a.action == b.action && slices.Equal(a.conds, b.conds)
	})
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

// add inserts a rule. The first rule without conditions decides all calls,
// whatever other rules say.
func (v *verdict) add(r rule, otherwise uint32) {
	if v.rules == nil && v.action != otherwise {
		return
	}
	if len(r.conds) == 0 {
		v.rules, v.action = nil, r.action
		return
	}
	v.rules = append(v.rules, r)
}

// order sorts rules into the order in which libseccomp tests them, which
// matters where rules of different actions overlap: those on later arguments
// first; equality before upper before lower bounds; narrower bounds first;
// a rule that ends where another goes on, first.
func (v *verdict) order() {
	slices.SortStableFunc(v.rules, func(a, b rule) int {
		for i := range min(len(a.conds), len(b.conds)) {
			if c := a.conds[i].compare(b.conds[i]); c != 0 {
				return c
			}
		}
		return cmp.Compare(len(a.conds), len(b.conds))
	})
}

func (c cond) compare(d cond) int {
	if n := cmp.Compare(d.arg, c.arg); n != 0 {
		return n
	}
	if n := cmp.Compare(c.op.class(), d.op.class()); n != 0 {
		return n
	}
	if c.op.class() == classUpper {
		return cmp.Compare(c.value, d.value)
	}
	return cmp.Compare(d.value, c.value)
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

// first is the entry of the profile that a verdict comes from.
func (v verdict) first() string {
	if len(v.rules) == 0 {
		return ""
	}
	return v.rules[0].path
}
