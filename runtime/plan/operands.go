// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"encoding/binary"
	"fmt"
	"sort"
	"strings"
)

// hostOperands are those of what happens before a user namespace is entered.
func (s *Step) hostOperands() []string {
	maps := []string{also("uids", mapWords(s.S[0])), also("gids", mapWords(s.S[3]))}
	switch s.Op {
	case OpMapUsers:
		return []string{also("uids", mapWords(s.S[0])), also("gids", mapWords(s.S[1]))}
	case OpTime:
		return []string{strings.ReplaceAll(strings.TrimSpace(s.S[0]), "\n", ", ")}
	case OpSource:
		by := ""
		if s.FD >= 0 {
			by = "idmapped by " + fdWord(s.FD)
		}
		out := append([]string{fmt.Sprintf("[%d]", s.A), quote(s.S[1]), flagWord(s.Flags, FlagRec, "rec"), by}, maps...)
		return append(out, flagWord(s.Flags, FlagAttrRec, "(recursively)"))
	case OpIdmapHost:
		out := append([]string{quote(s.S[1]), "on", quote(s.S[2]), flagWord(s.Flags, FlagRec, "rec"), words(s.A, attrWords)}, maps...)
		return append(out, flagWord(s.Flags, FlagAttrRec, "(recursively)"))
	case OpUnmountHost:
		return []string{quote(s.S[2])}
	}
	return nil
}

// mapWords prints a map as 0:100000:65536, ranges with commas between them.
func mapWords(text string) string {
	return strings.NewReplacer(" ", ":", "\n", ",").Replace(strings.TrimSpace(text))
}

func (s *Step) schedulingOperands() []string {
	switch s.Op {
	case OpScheduler:
		return schedWords([]byte(s.S[0]))
	case OpIOPriority:
		for name, class := range ioClasses {
			if class == s.A>>ioClassShift {
				return []string{strings.ToLower(strings.TrimPrefix(string(name), "IOPRIO_CLASS_")), fmt.Sprint(s.A & 7)}
			}
		}
		return []string{fmt.Sprintf("%#x", s.A)}
	case OpPersonality:
		for name, n := range personalities {
			if n == s.A {
				return []string{string(name)}
			}
		}
		return []string{fmt.Sprintf("%#x", s.A)}
	case OpAffinity:
		return []string{"cpus", bitWords(s.S[0])}
	case OpMemPolicy:
		return []string{s.memoryMode(), also("nodes", bitWords(s.S[0]))}
	case OpLabel:
		return []string{s.S[0], "=", quote(s.S[1])}
	}
	return nil
}

func (s *Step) memoryMode() string {
	var flags uint64
	var out []string
	for name, bit := range memoryFlags {
		flags |= bit
		if s.A&bit != 0 {
			out = append(out, strings.ToLower(strings.TrimPrefix(string(name), "MPOL_F_")))
		}
	}
	sort.Strings(out)
	for name, n := range memoryModes {
		if n == s.A&^flags {
			return strings.Join(append([]string{strings.ToLower(strings.TrimPrefix(string(name), "MPOL_"))}, out...), ",")
		}
	}
	return fmt.Sprintf("%#x", s.A)
}

// schedWords prints what is set of a struct sched_attr.
func schedWords(attr []byte) []string {
	if len(attr) < schedAttrSize {
		return nil
	}
	u32, u64 := binary.LittleEndian.Uint32, binary.LittleEndian.Uint64
	out := []string{fmt.Sprint(u32(attr[4:]))}
	for name, n := range schedulerPolicies {
		if n == u32(attr[4:]) {
			out[0] = strings.ToLower(strings.TrimPrefix(string(name), "SCHED_"))
		}
	}
	out = append(out, also("flags", hexOrNone(u64(attr[8:]))))
	for _, field := range []struct {
		name  string
		value int64
	}{
		{"nice", int64(int32(u32(attr[16:])))}, {"priority", int64(u32(attr[20:]))},
		{"runtime", int64(u64(attr[24:]))}, {"deadline", int64(u64(attr[32:]))}, {"period", int64(u64(attr[40:]))},
	} {
		if field.value != 0 {
			out = append(out, fmt.Sprintf("%s=%d", field.name, field.value))
		}
	}
	return out
}

// bitWords prints a mask as a list like 0-3,7.
func bitWords(mask string) string {
	var out []string
	for n := 0; n < len(mask)*8; n++ {
		if !bit(mask, n) {
			continue
		}
		first := n
		for bit(mask, n+1) {
			n++
		}
		if n > first {
			out = append(out, fmt.Sprintf("%d-%d", first, n))
		} else {
			out = append(out, fmt.Sprint(n))
		}
	}
	return strings.Join(out, ",")
}

func bit(mask string, n int) bool { return n/8 < len(mask) && mask[n/8]>>(n%8)&1 != 0 }
