// SPDX-License-Identifier: Apache-2.0

package main

import (
	"maps"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/runtime-spec/specs-go/features"
	"golang.org/x/sys/unix"

	"foundry/runtime/oci"
	"foundry/runtime/plan"
	"foundry/runtime/seccomp"
)

// supported lists what the runtime takes, by asking the parts that take it. A
// kubelet offers recursive read-only mounts because of "rro" in it, and user
// namespaces because of "user" and idmap.
func supported() *features.Features {
	yes, no := true, false
	known, meant := plan.Vocabulary(), annotations()
	return &features.Features{
		OCIVersionMin: "1.0.0",
		OCIVersionMax: specs.Version,
		Hooks:         []string{"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"},
		MountOptions:  known.MountOptions,
		Annotations:   meant,
		Linux: &features.Linux{
			Namespaces:      known.Namespaces,
			Capabilities:    known.Capabilities,
			Cgroup:          &features.Cgroup{V1: &yes, V2: &yes, Systemd: &yes, SystemdUser: &no, Rdma: &yes},
			Seccomp:         filters(),
			Apparmor:        &features.Apparmor{Enabled: &yes},
			Selinux:         &features.Selinux{Enabled: &yes},
			IntelRdt:        &features.IntelRdt{Enabled: &no},
			MemoryPolicy:    &features.MemoryPolicy{Modes: known.MemoryModes, Flags: known.MemoryFlags},
			MountExtensions: &features.MountExtensions{IDMap: &features.IDMap{Enabled: &yes}},
			NetDevices:      &features.NetDevices{Enabled: &no},
		},
		// Whoever may set them decides about the container's process 1 and its
		// log, and who answers its system calls.
		PotentiallyUnsafeConfigAnnotations: slices.Sorted(maps.Keys(meant)),
	}
}

// annotations of config.json that mean something to us, and what.
func annotations() map[string]string {
	out := map[string]string{}
	for _, a := range oci.Annotations() {
		out[a.Name] = a.Doc
	}
	return out
}

// The words that the specification has for seccomp; filters tries each.
var (
	actions = []specs.LinuxSeccompAction{specs.ActKill, specs.ActKillProcess, specs.ActKillThread, specs.ActTrap, specs.ActErrno,
		specs.ActTrace, specs.ActAllow, specs.ActLog, specs.ActNotify}
	operators = []specs.LinuxSeccompOperator{specs.OpNotEqual, specs.OpLessThan, specs.OpLessEqual, specs.OpEqualTo,
		specs.OpGreaterEqual, specs.OpGreaterThan, specs.OpMaskedEqual}
	arches = []specs.Arch{specs.ArchX86, specs.ArchX86_64, specs.ArchX32, specs.ArchARM, specs.ArchAARCH64, specs.ArchMIPS,
		specs.ArchMIPS64, specs.ArchMIPS64N32, specs.ArchMIPSEL, specs.ArchMIPSEL64, specs.ArchMIPSEL64N32, specs.ArchPPC,
		specs.ArchPPC64, specs.ArchPPC64LE, specs.ArchS390, specs.ArchS390X, specs.ArchPARISC, specs.ArchPARISC64,
		specs.ArchRISCV64, specs.ArchLOONGARCH64, specs.ArchM68K, specs.ArchSH, specs.ArchSHEB}
	filterFlags = map[specs.LinuxSeccompFlag]uintptr{
		"SECCOMP_FILTER_FLAG_TSYNC":            unix.SECCOMP_FILTER_FLAG_TSYNC,
		specs.LinuxSeccompFlagLog:              unix.SECCOMP_FILTER_FLAG_LOG,
		specs.LinuxSeccompFlagSpecAllow:        unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW,
		specs.LinuxSeccompFlagWaitKillableRecv: unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
	}
)

// filters lists what profiles may say: each word that compiles.
func filters() *features.Seccomp {
	enabled := true
	f := &features.Seccomp{Enabled: &enabled}
	for _, action := range actions {
		rule := specs.LinuxSyscall{Names: []string{"getpid"}, Action: action}
		if compiles(specs.LinuxSeccomp{Syscalls: []specs.LinuxSyscall{rule}}) {
			f.Actions = append(f.Actions, string(action))
		}
	}
	for _, op := range operators {
		rule := specs.LinuxSyscall{Names: []string{"getpid"}, Action: specs.ActErrno, Args: []specs.LinuxSeccompArg{{Op: op}}}
		if compiles(specs.LinuxSeccomp{Syscalls: []specs.LinuxSyscall{rule}}) {
			f.Operators = append(f.Operators, string(op))
		}
	}
	for _, arch := range arches {
		if compiles(specs.LinuxSeccomp{Architectures: []specs.Arch{arch}}) {
			f.Archs = append(f.Archs, string(arch))
		}
	}
	for flag, bit := range filterFlags {
		if !compiles(specs.LinuxSeccomp{Flags: []specs.LinuxSeccompFlag{flag}}) {
			continue
		}
		f.KnownFlags = append(f.KnownFlags, string(flag))
		if kernelTakes(bit) {
			f.SupportedFlags = append(f.SupportedFlags, string(flag))
		}
	}
	for _, list := range [][]string{f.Actions, f.Operators, f.Archs, f.KnownFlags, f.SupportedFlags} {
		slices.Sort(list)
	}
	return f
}

func compiles(p specs.LinuxSeccomp) bool {
	p.DefaultAction = specs.ActAllow
	_, err := seccomp.Compile(&p)
	return err == nil
}

// kernelTakes asks by a filter that lies nowhere: the kernel looks at the flags
// before it looks there. That one waits for an agent makes sense with one only.
func kernelTakes(flag uintptr) bool {
	if flag == unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV {
		flag |= unix.SECCOMP_FILTER_FLAG_NEW_LISTENER
	}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flag, 0)
	return errno == unix.EFAULT
}
