// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"encoding/binary"
	"fmt"

	"foundry/runtime/oci"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// scheduling sets when and on what a process runs, and what it takes the
// kernel for. These need capabilities, or calls, that it may lack later. A
// helper has no spec: what is the container's and not the process's is not for
// it.
func (b *builder) scheduling(p *specs.Process) {
	if p.Scheduler != nil {
		b.add(Step{Op: OpScheduler, S: [4]string{schedAttr(p.Scheduler)}})
	}
	if p.IOPriority != nil {
		b.add(Step{Op: OpIOPriority, A: ioClasses[p.IOPriority.Class]<<ioClassShift | uint64(p.IOPriority.Priority)&7})
	}
	if b.spec == nil {
		return
	}
	if p := b.spec.Linux.Personality; p != nil {
		b.add(Step{Op: OpPersonality, A: personalities[p.Domain]})
	}
	if p := b.spec.Linux.MemoryPolicy; p != nil {
		b.memoryPolicy(p)
	}
}

// schedAttr is struct sched_attr.
func schedAttr(s *specs.Scheduler) string {
	var flags uint64
	for _, f := range s.Flags {
		flags |= schedulerFlags[f]
	}
	out := binary.LittleEndian.AppendUint32(nil, schedAttrSize)
	out = binary.LittleEndian.AppendUint32(out, schedulerPolicies[s.Policy])
	out = binary.LittleEndian.AppendUint64(out, flags)
	out = binary.LittleEndian.AppendUint32(out, uint32(s.Nice))
	out = binary.LittleEndian.AppendUint32(out, uint32(s.Priority))
	for _, v := range []uint64{s.Runtime, s.Deadline, s.Period, 0} { // 0: both clamps
		out = binary.LittleEndian.AppendUint64(out, v)
	}
	return string(out)
}

func (b *builder) memoryPolicy(p *specs.LinuxMemoryPolicy) {
	s := Step{Op: OpMemPolicy, A: memoryModes[p.Mode]}
	for _, f := range p.Flags {
		s.A |= memoryFlags[f]
	}
	if p.Nodes != "" {
		mask, err := oci.NodeMask(p.Nodes)
		if err != nil {
			b.fail(invalid("linux.memoryPolicy.nodes", "%v", err))
			return
		}
		s.S[0], s.B = string(mask), uint64(len(mask)*8)
	}
	b.add(s)
}

// affinity is one of the two lists of execCPUAffinity.
func (b *builder) affinity(which, cpus string) {
	if cpus == "" {
		return
	}
	mask, err := oci.CPUMask(cpus)
	if err != nil {
		b.fail(invalid("process.execCPUAffinity."+which, "%v", err))
		return
	}
	b.add(Step{Op: OpAffinity, S: [4]string{string(mask)}})
}

const unconfined = "unconfined"

// label sets what the security modules of the host take the program for. On a
// host with AppArmor, unconfined is a profile too: without it, one that is
// attached to the program's path would be taken.
func (b *builder) label(p *specs.Process) {
	switch {
	case b.facts.AppArmor != "" && p.ApparmorProfile != "":
		b.add(Step{Op: OpLabel, S: [4]string{b.facts.AppArmor, "exec " + p.ApparmorProfile}})
	case p.ApparmorProfile != "" && p.ApparmorProfile != unconfined:
		b.fail(&oci.UnsupportedError{
			Path: "process.apparmorProfile", What: fmt.Sprintf("%q is", p.ApparmorProfile),
			Why: "this host has no AppArmor (leave the profile out, or boot with apparmor among lsm=)",
		})
	}
	switch {
	case p.SelinuxLabel == "":
	case b.facts.SELinux:
		b.add(Step{Op: OpLabel, S: [4]string{"attr/exec", p.SelinuxLabel}})
	default:
		b.fail(noSELinux("process.selinuxLabel", p.SelinuxLabel))
	}
}

func noSELinux(path, label string) error {
	return &oci.UnsupportedError{
		Path: path, What: fmt.Sprintf("%q is", label),
		Why: "this host has no SELinux (leave the label out, or boot with selinux among lsm=)",
	}
}

// unlabelled are the file systems whose files the kernel labels itself, and
// that runc gives no label either.
var unlabelled = map[string]bool{"proc": true, "sysfs": true, "mqueue": true, "cgroup": true, "cgroup2": true}

// mountLabel is what a file system that the container mounts gets as its
// option.
func (b *builder) mountLabel(fsType string) []string {
	label := b.spec.Linux.MountLabel
	switch {
	case label == "" || unlabelled[fsType]:
		return nil
	case !b.facts.SELinux:
		b.fail(noSELinux("linux.mountLabel", label))
		return nil
	}
	return []string{"context=" + label}
}
