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
	Flags  uint64 // SECCOMP_FILTER_FLAG_* for seccomp(2)
	Digest string // names the profile, see Digest
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
	asm, flags, err := compile(p, native)
	if err != nil {
		return Filter{}, fmt.Errorf("compile seccomp profile: %w", err)
	}
	return Filter{Prog: asm.bytes(), Flags: flags, Digest: Digest(p)}, nil
}

// compile is Compile for a machine of any architecture.
func compile(p *specs.LinuxSeccomp, native *arch) (*assembler, uint64, error) {
	parsed, err := parse(p, native)
	if err != nil {
		return nil, 0, err
	}
	sections := parsed.sections()
	asm := emit(sections)
	if len(asm.code) > maxInsns {
		return nil, 0, tooLong(len(asm.code), sections)
	}
	return asm, parsed.flags, nil
}

// tooLong blames the call with the most rules.
func tooLong(n int, sections []section) error {
	var worst verdict
	for _, s := range sections {
		for _, m := range s.members {
			for _, v := range m.rules {
				if len(v.rules) > len(worst.rules) || len(v.rules) == len(worst.rules) && v.first() < worst.first() {
					worst = *v
				}
			}
		}
	}
	return invalid("syscalls", "filter needs %d instructions, the kernel takes %d; most are for the %d rules of the call in %s",
		n, maxInsns, len(worst.rules), worst.first())
}
