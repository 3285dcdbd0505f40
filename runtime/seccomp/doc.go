// SPDX-License-Identifier: Apache-2.0

// Package seccomp compiles the seccomp profile of a runtime-spec config into
// the classic BPF program that the kernel runs for each system call of a
// container. What a program answers is what runc with libseccomp answers for
// the same profile; docs/decisions/0004-seccomp-compiler.md says why it is
// not libseccomp itself.
//
// runtime calls [Cache.Compile] when it creates a container or executes a
// process in one, and hands the program to the plan; the stage installs it.
// A cache lives as long as the server. Nothing here touches the kernel, and
// no memory of a [Filter] is shared with the profile it came from.
//
//	var filters seccomp.Cache
//	f, err := filters.Compile(spec.Linux.Seccomp)
//	if err != nil {
//		return err // compile seccomp profile: linux.seccomp.syscalls[2].action: ...
//	}
//	facts.Seccomp, facts.SeccompFlags = f.Prog, f.Flags
//
// # From profile to program
//
//	profile.go  parse: names to numbers of the kernel, errors by JSON path
//	section.go  per architecture, what happens to each call number, as ranges
//	rule.go     the order of the rules of one call
//	emit.go     ranges and rules to instructions
//	asm.go      instructions, from the last to the first
//
// The program loads the architecture, jumps to its section, and searches the
// call number in a balanced tree; only calls with conditions look at
// arguments:
//
//	arch == native ----> nr >= a -+-> nr >= b -+-> return
//	arch == other  -->            |            +-> argument >= c -+-> return
//	else kill                     +-> ...                         +-> return
package seccomp
