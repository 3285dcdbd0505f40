// SPDX-License-Identifier: Apache-2.0

package seccomp

import "slices"

// section is the part of a filter for one value of seccomp_data.arch: one
// architecture, or x86_64 together with x32.
type section struct {
	audit   uint32
	members []member
}

// member is an architecture with its rules by call number.
type member struct {
	*arch
	rules  map[uint32]*verdict
	newest uint32 // largest number that the profile names; calls above do not exist. 0: not known
	action uint32 // of calls without a rule
	count  int    // rules entered
}

// maxRules bounds the work for one architecture. Calls can share
// instructions, so that a filter with more rules than instructions is
// possible, but nobody has written one.
const maxRules = 16 * maxInsns

// segment is a range of call numbers of one verdict, up to the next segment.
type segment struct {
	start   uint32
	verdict verdict
}

// sections resolves the names of a profile.
func (p *profile) sections() ([]section, error) {
	var list []section
	for _, a := range p.arches {
		m, err := p.member(a)
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(list, func(s section) bool { return s.audit == a.audit })
		if i < 0 {
			list = append(list, section{audit: a.audit})
			i = len(list) - 1
		}
		list[i].members = append(list[i].members, m)
	}
	return list, nil
}

func (p *profile) member(a *arch) (member, error) {
	m := member{arch: a, rules: map[uint32]*verdict{}, action: p.action}
	for _, c := range p.calls {
		number, direct := a.number(c.name)
		var other *mux
		if a.mux {
			other = muxOf(c.name)
		}
		// libseccomp has no number of its own for a call that can be
		// multiplexed, so runc does not count it as the newest either.
		if p.newest && direct && other == nil {
			m.newest = max(m.newest, number)
		}
		if c.redundant {
			continue
		}
		if other != nil {
			through, _ := a.number(other.through)
			if err := m.add(through, c, other); err != nil {
				return m, err
			}
		}
		if direct {
			if err := m.add(number, c, nil); err != nil {
				return m, err
			}
		}
	}
	return m, nil
}

// add enters the rules of one name. Through a multiplexer the first argument
// selects the call, so a condition on the first argument of the call itself,
// which is in memory then, is lost; libseccomp keeps the others as they are.
func (m *member) add(number uint32, c call, through *mux) error {
	v := m.rules[number]
	if v == nil {
		v = &verdict{action: m.action}
		m.rules[number] = v
	}
	alts := c.alts
	if len(alts) == 0 {
		alts = [][]cond{nil}
	}
	if m.count += len(alts); m.count > maxRules {
		return invalid("syscalls", "more than %d rules for %s", maxRules, m.name)
	}
	for _, conds := range alts {
		if through != nil {
			kept := slices.DeleteFunc(slices.Clone(conds), func(c cond) bool { return c.arg == 0 })
			conds = append(kept, cond{arg: 0, op: opEQ, mask: ^uint64(0), value: through.selector})
		}
		if err := v.add(rule{conds: fit(conds, m.arch), action: c.action, path: c.path}); err != nil {
			return err
		}
	}
	return nil
}

// unknown is what a call that is newer than the profile gets, so that a C
// library falls back to an older one instead of taking EPERM for an answer.
var unknown = verdict{action: retErrno | enosys}

// at is the verdict on one number.
func (s *section) at(number uint32) verdict {
	for _, m := range s.members {
		if !m.owns(number) || m.newest == 0 {
			continue
		}
		// s390x: the kernel shows a call whose number is in a register as 0
		// when it does not know it.
		if number > m.newest || m.column == columnS390X && number == 0 {
			return unknown
		}
	}
	if s.foreign(number) {
		return verdict{action: retKillThread}
	}
	for _, m := range s.members {
		if v := m.rules[number]; v != nil {
			return *v
		}
	}
	return verdict{action: s.members[0].action}
}

// owns tells x86_64 and x32, which share a section, apart.
func (m *member) owns(number uint32) bool {
	switch m.column {
	case columnAMD64:
		return number&x32Bit == 0
	case columnX32:
		return number&x32Bit != 0
	}
	return true
}

// foreign: an x32 call although the profile does not list x32. It is treated
// as a call of a wrong architecture, but for -1, with which a tracer skips a
// call.
func (s *section) foreign(number uint32) bool {
	return len(s.members) == 1 && s.members[0].column == columnAMD64 && number >= x32Bit && number != ^uint32(0)
}

// segments cuts all 2^32 numbers into ranges of equal verdicts.
func (s *section) segments() []segment {
	starts := []uint32{0, 1, x32Bit, 2 * x32Bit, 3 * x32Bit, ^uint32(0)}
	for _, m := range s.members {
		starts = append(starts, m.newest+1)
		for n := range m.rules {
			starts = append(starts, n, n+1)
		}
	}
	slices.Sort(starts)
	var list []segment
	for _, start := range slices.Compact(starts) {
		v := s.at(start)
		if len(list) > 0 && list[len(list)-1].verdict.equal(v) {
			continue
		}
		list = append(list, segment{start: start, verdict: v})
	}
	return list
}
