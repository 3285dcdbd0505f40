// SPDX-License-Identifier: Apache-2.0

package seccomp

import (
	"fmt"
	"sort"

	"github.com/opencontainers/runtime-spec/specs-go"
)

//go:generate go run mktables.go

// Columns of the generated table.
const (
	column386 = iota
	columnAMD64
	columnX32
	columnARM
	columnARM64
	columnRISCV64
	columnPPC64LE
	columnS390X
	columns
	noColumn = -1
)

// syscall is a row of the generated table.
type syscall struct {
	name    string
	numbers [columns]int32
}

// x32Bit marks the number of a call of the x32 ABI; apart from it x32 and
// x86_64 are one architecture to the kernel.
const x32Bit = 1 << 30

// arch says what the compiler must know of an architecture.
type arch struct {
	name   specs.Arch
	audit  uint32 // AUDIT_ARCH_* as the kernel writes it into seccomp_data.arch
	column int
	wide   bool // arguments have 64 bits
	big    bool // big-endian
	// mux: the socket calls are also reachable through socketcall(2) and the
	// System V IPC calls through ipc(2), whose first argument selects one.
	mux bool
}

// Architectures without a table are known so that a profile that lists them
// is accepted; no process of theirs runs on the machines we are built for,
// with the exception of 31-bit s390, whose calls are killed.
var arches = [...]arch{
	{name: specs.ArchX86, audit: 0x40000003, column: column386, mux: true},
	{name: specs.ArchX86_64, audit: 0xc000003e, column: columnAMD64, wide: true},
	{name: specs.ArchX32, audit: 0xc000003e, column: columnX32},
	{name: specs.ArchARM, audit: 0x40000028, column: columnARM},
	{name: specs.ArchAARCH64, audit: 0xc00000b7, column: columnARM64, wide: true},
	{name: specs.ArchRISCV64, audit: 0xc00000f3, column: columnRISCV64, wide: true},
	{name: specs.ArchPPC64LE, audit: 0xc0000015, column: columnPPC64LE, wide: true, mux: true},
	{name: specs.ArchS390X, audit: 0x80000016, column: columnS390X, wide: true, mux: true, big: true},
	{name: specs.ArchS390, column: noColumn, big: true},
	{name: specs.ArchMIPS, column: noColumn, big: true},
	{name: specs.ArchMIPS64, column: noColumn, big: true},
	{name: specs.ArchMIPS64N32, column: noColumn, big: true},
	{name: specs.ArchMIPSEL, column: noColumn},
	{name: specs.ArchMIPSEL64, column: noColumn},
	{name: specs.ArchMIPSEL64N32, column: noColumn},
	{name: specs.ArchPPC, column: noColumn, big: true},
	{name: specs.ArchPPC64, column: noColumn, big: true},
	{name: specs.ArchLOONGARCH64, column: noColumn},
}

// archByName finds an architecture by its name in the spec, nil if unknown.
func archByName(name specs.Arch) *arch {
	for i := range arches {
		if arches[i].name == name {
			return &arches[i]
		}
	}
	return nil
}

// nativeArch is the architecture of a kernel that runs a program of goarch,
// nil if we have no table for it.
func nativeArch(goarch string) *arch {
	switch goarch {
	case "386":
		return archByName(specs.ArchX86)
	case "amd64":
		return archByName(specs.ArchX86_64)
	case "arm":
		return archByName(specs.ArchARM)
	case "arm64":
		return archByName(specs.ArchAARCH64)
	case "riscv64":
		return archByName(specs.ArchRISCV64)
	case "ppc64le":
		return archByName(specs.ArchPPC64LE)
	case "s390x":
		return archByName(specs.ArchS390X)
	}
	return nil
}

// number is the number of a call, false if the architecture lacks it.
func (a *arch) number(name string) (uint32, bool) {
	i := sort.Search(len(syscalls), func(i int) bool { return syscalls[i].name >= name })
	if a.column == noColumn || i == len(syscalls) || syscalls[i].name != name {
		return 0, false
	}
	n := syscalls[i].numbers[a.column]
	return uint32(n), n >= 0
}

// argOffset is where seccomp_data keeps 32 bits of an argument.
func (a *arch) argOffset(arg uint8, high bool) uint32 {
	const args, size = 16, 8
	offset := args + size*uint32(arg)
	if high != a.big {
		offset += 4
	}
	return offset
}

// mux is how a call is reached through socketcall(2) or ipc(2).
type mux struct {
	name, through string
	selector      uint64 // what the first argument of the multiplexer is
}

// muxes is sorted by name (the selectors are those of linux/net.h and
// linux/ipc.h).
var muxes = [...]mux{
	{"accept", "socketcall", 5},
	{"accept4", "socketcall", 18},
	{"bind", "socketcall", 2},
	{"connect", "socketcall", 3},
	{"getpeername", "socketcall", 7},
	{"getsockname", "socketcall", 6},
	{"getsockopt", "socketcall", 15},
	{"listen", "socketcall", 4},
	{"msgctl", "ipc", 14},
	{"msgget", "ipc", 13},
	{"msgrcv", "ipc", 12},
	{"msgsnd", "ipc", 11},
	{"recv", "socketcall", 10},
	{"recvfrom", "socketcall", 12},
	{"recvmmsg", "socketcall", 19},
	{"recvmsg", "socketcall", 17},
	{"semctl", "ipc", 3},
	{"semget", "ipc", 2},
	{"semop", "ipc", 1},
	{"semtimedop", "ipc", 4},
	{"send", "socketcall", 9},
	{"sendmmsg", "socketcall", 20},
	{"sendmsg", "socketcall", 16},
	{"sendto", "socketcall", 11},
	{"setsockopt", "socketcall", 14},
	{"shmat", "ipc", 21},
	{"shmctl", "ipc", 24},
	{"shmdt", "ipc", 22},
	{"shmget", "ipc", 23},
	{"shutdown", "socketcall", 13},
	{"socket", "socketcall", 1},
	{"socketpair", "socketcall", 8},
}

// muxOf is the other way to a call, nil if it has none.
func muxOf(name string) *mux {
	i := sort.Search(len(muxes), func(i int) bool { return muxes[i].name >= name })
	if i == len(muxes) || muxes[i].name != name {
		return nil
	}
	return &muxes[i]
}

// CallName is the name of a call as an agent is told of it: by the AUDIT_ARCH_*
// of its architecture and its number. Without a name it is "call NUMBER".
func CallName(audit, number uint32) string {
	for i := range arches {
		a := &arches[i]
		if a.audit != audit || a.column == noColumn || a.column == columnAMD64 && number&x32Bit != 0 || a.column == columnX32 && number&x32Bit == 0 {
			continue
		}
		for j := range syscalls {
			if n := syscalls[j].numbers[a.column]; n >= 0 && uint32(n) == number {
				return syscalls[j].name
			}
		}
	}
	return fmt.Sprintf("call %d", number)
}
