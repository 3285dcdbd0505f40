// SPDX-License-Identifier: Apache-2.0

package seccomp

import (
	"fmt"
	"slices"
	"testing"

	"github.com/containerd/containerd/v2/contrib/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// containerdProfiles are what nerdctl gives its containers, for the default
// capabilities and for all that change the profile. containerd chooses some
// calls by the architecture it is built for; those of 32-bit ARM are added,
// because their numbers are far from all others.
func containerdProfiles() map[string]*specs.LinuxSeccomp {
	profile := func(caps ...string) *specs.LinuxSeccomp {
		p := seccomp.DefaultProfile(&specs.Spec{
			Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: caps}},
		})
		p.Syscalls = append(p.Syscalls, specs.LinuxSyscall{
			Names:  []string{"arm_fadvise64_64", "arm_sync_file_range", "sync_file_range2", "breakpoint", "cacheflush", "set_tls"},
			Action: specs.ActAllow,
		})
		return p
	}
	return map[string]*specs.LinuxSeccomp{
		"default": profile("CAP_CHOWN", "CAP_SYS_CHROOT"),
		"all": profile("CAP_DAC_READ_SEARCH", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_CHROOT", "CAP_SYS_MODULE",
			"CAP_SYS_PACCT", "CAP_SYS_PTRACE", "CAP_SYS_RAWIO", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_SYS_NICE",
			"CAP_SYSLOG", "CAP_BPF", "CAP_PERFMON"),
	}
}

// build compiles for a machine of an architecture and checks the program.
func build(t testing.TB, p *specs.LinuxSeccomp, native *arch) machine {
	t.Helper()
	asm, _, err := compile(p, native)
	if err != nil {
		t.Fatal(err)
	}
	m := newMachine(asm, native)
	if err := check(m.code); err != nil {
		t.Fatalf("the kernel refuses the program: %v", err)
	}
	return m
}

// numbers are the calls worth trying: where ABIs and signs change, and, of a
// large profile, all of an architecture; of a small one the calls it names;
// always with their neighbours.
func numbers(p *specs.LinuxSeccomp, a *arch) []uint32 {
	list := []uint32{0, ^uint32(0), ^uint32(0) - 1, x32Bit - 1, x32Bit, x32Bit + 600,
		2*x32Bit - 1, 2 * x32Bit, 2*x32Bit + 1, 3*x32Bit - 1, 3 * x32Bit, 0x900000}
	small := len(p.Syscalls) < 10
	for _, s := range syscalls {
		named := slices.ContainsFunc(p.Syscalls, func(e specs.LinuxSyscall) bool { return slices.Contains(e.Names, s.name) })
		if small && !named && s.name != "socketcall" && s.name != "ipc" {
			continue
		}
		if n := s.numbers[a.column]; n >= 0 {
			list = append(list, uint32(n), uint32(n)+1, uint32(n)|x32Bit)
		}
		if n := s.numbers[columnX32]; n >= 0 && a.column == columnAMD64 {
			list = append(list, uint32(n), uint32(n)+1)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// values are the arguments worth trying, by argument: those of the profile,
// their neighbours, and the same with another upper or lower half.
func values(p *specs.LinuxSeccomp) [maxArgs][]uint64 {
	var list [maxArgs][]uint64
	for i := range list {
		list[i] = []uint64{0, 1, ^uint64(0)}
	}
	for _, s := range p.Syscalls {
		for _, a := range s.Args {
			for _, v := range []uint64{a.Value, a.ValueTwo, a.Value | a.ValueTwo} {
				list[a.Index] = append(list[a.Index], v, v-1, v+1, v^1<<32, v+1<<32, v-1<<32, uint64(uint32(v)), v|1<<63, v>>1)
			}
		}
	}
	for i := range list {
		slices.Sort(list[i])
		list[i] = slices.Compact(list[i])
	}
	return list
}

// argSets varies one argument at a time, and all together.
func argSets(p *specs.LinuxSeccomp) [][maxArgs]uint64 {
	vals := values(p)
	var sets [][maxArgs]uint64
	for i := range vals {
		for j, v := range vals[i] {
			var alone, among [maxArgs]uint64
			alone[i] = v
			for k := range among {
				among[k] = vals[k][(j*7+k)%len(vals[k])]
			}
			among[i] = v
			sets = append(sets, alone, among)
		}
	}
	return sets
}

// audits are the values of seccomp_data.arch.
func audits() []uint32 {
	list := []uint32{0, ^uint32(0)}
	for _, a := range arches {
		list = append(list, a.audit)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// each tries every interesting call. Where the profile has no conditions on
// a call, arguments make no difference, but that is for the program to show:
// a few sets are always tried.
func each(p *specs.LinuxSeccomp, native *arch, try func(data) bool) {
	sets := argSets(p)
	some := sets[:2]
	for _, audit := range audits() {
		conditional := conditionals(p, audit)
		for _, n := range numbers(p, sectionArch(native, audit)) {
			list := some
			if slices.Contains(conditional, n) {
				list = sets
			}
			for _, args := range list {
				if !try(data{nr: n, arch: audit, args: args}) {
					return
				}
			}
		}
	}
}

// sectionArch is an architecture with a value of seccomp_data.arch, or the
// native one if there is none.
func sectionArch(native *arch, audit uint32) *arch {
	for i := range arches {
		if arches[i].audit == audit && arches[i].column != noColumn {
			return &arches[i]
		}
	}
	return native
}

// conditionals are the numbers of calls with conditions.
func conditionals(p *specs.LinuxSeccomp, audit uint32) []uint32 {
	var list []uint32
	for i := range arches {
		a := &arches[i]
		if a.audit != audit || a.column == noColumn {
			continue
		}
		for _, s := range p.Syscalls {
			for _, name := range s.Names {
				if n, ok := a.number(name); ok && len(s.Args) > 0 {
					list = append(list, n)
				}
			}
		}
		for _, name := range []string{"socketcall", "ipc"} {
			if n, ok := a.number(name); ok {
				list = append(list, n)
			}
		}
	}
	return list
}

// natives are the architectures that we can run on.
func natives() []*arch {
	var list []*arch
	for _, goarch := range []string{"386", "amd64", "arm", "arm64", "ppc64le", "riscv64", "s390x"} {
		list = append(list, nativeArch(goarch))
	}
	return list
}

func (d data) String() string { return fmt.Sprintf("arch %#x nr %d args %#x", d.arch, d.nr, d.args) }

func TestCompiledEqualsInterpreted(t *testing.T) {
	for name, p := range containerdProfiles() {
		for _, native := range natives() {
			t.Run(fmt.Sprintf("%s/%s", name, native.name), func(t *testing.T) {
				p.Architectures = listFor(native)
				m, r := build(t, p, native), newReader(p, native)
				t.Logf("%d instructions", len(m.code))
				each(p, native, func(d data) bool {
					got, want := m.run(d), r.interpret(d)
					if !slices.Contains(want, got) {
						t.Errorf("%v: got %#x, want %#x", d, got, want)
					}
					return !t.Failed()
				})
			})
		}
	}
}

// listFor is containerd's list of architectures for a machine.
func listFor(native *arch) []specs.Arch {
	switch native.name {
	case specs.ArchX86_64:
		return []specs.Arch{specs.ArchX86_64, specs.ArchX86, specs.ArchX32}
	case specs.ArchAARCH64:
		return []specs.Arch{specs.ArchARM, specs.ArchAARCH64}
	case specs.ArchS390X:
		return []specs.Arch{specs.ArchS390, specs.ArchS390X}
	}
	return nil
}
