// SPDX-License-Identifier: Apache-2.0

package seccomp

import (
	"fmt"
	"runtime"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Filter is a compiled profile. The zero value filters nothing.
type Filter struct {
	Prog   []byte // array of struct sock_filter in this machine's byte order; nil: install nothing
	Flags  uint64 // SECCOMP_FILTER_FLAG_* for seccomp(2), without that for a listener
	Digest string // names the profile, see Digest
	Notify bool   // rules ask an agent: installing it gives a listener
}

// Compile translates a profile. Errors about the profile are *ProfileError.
// A nil profile, or one that says nothing, is no filter.
func Compile(p *specs.LinuxSeccomp) (Filter, error) {
	native := nativeArch(runtime.GOARCH)
	if native == nil {
		return Filter{}, fmt.Errorf("compile seccomp profile: no system call table for %s", runtime.GOARCH)
	}
	if p == nil || p.DefaultAction == "" && len(p.Syscalls) == 0 {
		return Filter{}, nil
	}
	asm, parsed, err := compile(p, native)
	if err != nil {
		return Filter{}, fmt.Errorf("compile seccomp profile: %w", err)
	}
	return Filter{Prog: asm.bytes(), Flags: parsed.flags, Digest: Digest(p), Notify: parsed.notify}, nil
}

// compile is Compile for a machine of any architecture.
func compile(p *specs.LinuxSeccomp, native *arch) (*assembler, *profile, error) {
	parsed, err := parse(p, native)
	if err != nil {
		return nil, nil, err
	}
	sections, err := parsed.sections()
	if err != nil {
		return nil, nil, err
	}
	asm := emit(sections)
	if len(asm.code) > maxInsns {
		return nil, nil, tooLong(len(asm.code), sections)
	}
	return asm, parsed, nil
}

// tooLong blames the entry with the most rules.
func tooLong(n int, sections []section) error {
	rules := map[string]int{}
	for _, s := range sections {
		for _, m := range s.members {
			for _, v := range m.rules {
				for _, r := range v.rules {
					rules[r.path]++
				}
			}
		}
	}
	worst := ""
	for path, n := range rules {
		if n > rules[worst] || n == rules[worst] && path < worst {
			worst = path
		}
	}
	return invalid("syscalls", "the filter has %d instructions, the kernel takes %d; most rules (%d) come from %s",
		n, maxInsns, rules[worst], worst)
}
