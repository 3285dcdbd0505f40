// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"slices"
	"strconv"
	"strings"

	"foundry/runtime/oci"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// defaultUmask is runc's.
const defaultUmask = 0o022

type processKind bool

const (
	initProcess processKind = false
	execProcess processKind = true
)

func (b *builder) oomScore(p *specs.Process) {
	if p.OOMScoreAdj != nil {
		b.add(Step{Op: OpOOMScore, A: uint64(int64(*p.OOMScoreAdj))})
	}
}

// session gives the process a keyring, a session and, without a terminal, its
// standard descriptors.
func (b *builder) session(p *specs.Process) {
	if !b.facts.NoNewKeyring {
		if b.facts.SELinux && p.SelinuxLabel != "" {
			// Or the process could not use it. The exec ends this.
			b.add(Step{Op: OpLabel, S: [4]string{"attr/keycreate", p.SelinuxLabel}})
		}
		b.add(Step{Op: OpKeyring, S: [4]string{"_ses." + b.facts.ID}})
	}
	b.add(Step{Op: OpSetsid})
	if !p.Terminal {
		b.stdio()
	}
}

// stdio takes the three descriptors from the executor, which opens /dev/null
// where there is no stream.
func (b *builder) stdio() {
	for n, kind := range []FileKind{FileStdin, FileStdout, FileStderr} {
		b.addFile(File{Kind: kind}, Step{Op: OpDup, A: uint64(n)})
	}
}

// tty opens the terminal in the container's own devpts.
func (b *builder) tty(p *specs.Process, flags uint16) {
	if !p.Terminal {
		return
	}
	s := Step{Op: OpTTY, Flags: flags, A: uint64(p.User.UID)<<32 | uint64(b.ttyGID())}
	if size := p.ConsoleSize; size != nil {
		s.B = uint64(clamp16(size.Height))<<16 | uint64(clamp16(size.Width))
	}
	b.add(s)
}

// ttyGID keeps the group that devpts gives its nodes: programs of the group
// tty write to terminals of others.
func (b *builder) ttyGID() uint32 {
	var gid uint32
	for _, m := range b.spec.Mounts {
		if m.Type != "devpts" {
			continue
		}
		for _, o := range m.Options {
			text, found := strings.CutPrefix(o, "gid=")
			if n, err := strconv.ParseUint(text, 10, 32); found && err == nil {
				gid = uint32(n)
			}
		}
	}
	return gid
}

func clamp16(n uint) uint16 {
	return uint16(min(n, 0xffff))
}

// process sets what belongs to the process itself, and executes the program.
//
// User and capabilities come before ready, so that Create fails when they
// cannot be had, except where a filter needs CAP_SYS_ADMIN to be installed.
// The filter comes after ready in any case: it need not allow what the stage
// does to wait. Scheduling takes capabilities that the process may not keep.
// A label holds for the next exec and nothing before it, and the lookup closes
// what its file is found by: so it comes right before the lookup, and Create
// fails when the host does not know it.
func (b *builder) process(p *specs.Process, kind processKind) {
	umask := uint64(defaultUmask)
	if p.User.Umask != nil {
		umask = uint64(*p.User.Umask)
	}
	b.add(Step{Op: OpUmask, A: umask})
	b.add(Step{Op: OpChdir, S: [4]string{p.Cwd}})

	privileged := b.facts.Seccomp != nil && !p.NoNewPrivileges
	wait := kind == initProcess || p.Terminal
	if privileged {
		b.label(p)
		b.lookup(p)
		b.rlimits(p.Rlimits)
		b.scheduling(p)
	} else {
		b.rlimits(p.Rlimits)
		b.scheduling(p)
		if p.NoNewPrivileges {
			b.add(Step{Op: OpNoNewPrivs})
		}
		b.credentials(p)
		b.label(p)
		b.lookup(p)
	}
	if wait {
		b.add(Step{Op: OpReady})
	}
	if kind == initProcess && b.facts.StartContainerHooks {
		b.add(Step{Op: OpHooks, A: HookStartContainer})
	}
	b.filter()
	if privileged {
		b.credentials(p)
	}
	b.exec(p, kind)
}

func (b *builder) filter() {
	if b.facts.Seccomp == nil {
		return
	}
	s := Step{Op: OpSeccomp, A: b.facts.SeccompFlags, S: [4]string{string(b.facts.Seccomp)}}
	if b.facts.SeccompListener {
		s.Flags = FlagListener
	}
	b.add(s)
}

// lookup happens as the container's user where it can: a program that the user
// may not execute fails Create, not Start.
func (b *builder) lookup(p *specs.Process) {
	if len(p.Args) == 0 {
		b.fail(invalid("process.args", "missing"))
		return
	}
	lookup := Step{Op: OpLookup, S: [4]string{p.Args[0], lookupEnv(p.Env, "PATH")}}
	if lacksHome(p) {
		lookup.Flags, lookup.A = FlagHome, uint64(p.User.UID)
	}
	b.add(lookup)
}

func (b *builder) exec(p *specs.Process, kind processKind) {
	s := Step{Op: OpExec, S: [4]string{b.list("process.args", p.Args), b.list("process.env", environment(p))}}
	if kind == initProcess && b.spec.Annotations[oci.InitAnnotation] == "true" {
		s.Flags = FlagInit
	}
	if kind == initProcess {
		s.Flags |= b.exitFlags()
	}
	b.add(s)
}

// exitFlags says when the container ends: with its program, or with the last
// of its processes. For the latter pid 1 must be ours, and see them all.
func (b *builder) exitFlags() uint16 {
	switch value := b.spec.Annotations[oci.ExitAnnotation]; value {
	case "", "main":
		return 0
	case "descendants":
		if !b.ownPID() {
			b.fail(invalid("annotations["+oci.ExitAnnotation+"]", "descendants needs a pid namespace of the container's own"))
		}
		return FlagInit | FlagStay
	default:
		b.fail(invalid("annotations["+oci.ExitAnnotation+"]", "%q is neither main nor descendants", value))
		return 0
	}
}

func (b *builder) ownPID() bool {
	if b.spec.Linux == nil {
		return false
	}
	return slices.ContainsFunc(b.spec.Linux.Namespaces, func(ns specs.LinuxNamespace) bool {
		return ns.Type == specs.PIDNamespace && ns.Path == ""
	})
}

func (b *builder) rlimits(limits []specs.POSIXRlimit) {
	for _, l := range limits {
		number, known := rlimitNumbers[l.Type]
		if !known {
			b.fail(invalid("process.rlimits", "%q is no resource limit of Linux", l.Type))
			return
		}
		b.add(Step{Op: OpRlimit, A: number, B: l.Soft, C: l.Hard})
	}
}

// credentials change the bounding set first: that takes CAP_SETPCAP. The
// permitted set survives setuid by OpKeepCaps, without which a user other than
// root would have nothing left to choose from.
func (b *builder) credentials(p *specs.Process) {
	c := b.capabilities(p.Capabilities)
	b.add(Step{Op: OpBound, A: c.bounding})
	if p.User.UID != 0 {
		b.add(Step{Op: OpKeepCaps})
	}
	b.add(Step{Op: OpUser, A: uint64(p.User.UID), B: uint64(p.User.GID), S: [4]string{le32s(p.User.AdditionalGids)}})
	b.add(Step{Op: OpCaps, A: c.effective, B: c.permitted, C: c.inheritable, S: [4]string{le64(c.ambient)}})
}

type capabilitySets struct {
	bounding, effective, permitted, inheritable, ambient uint64
}

// capabilities are the sets of the spec without what cannot be granted, which
// the specification wants to be no error: names and numbers that this kernel
// does not know, capabilities that this runtime lacks, and those that a wider
// set does not hold, which the kernel would refuse. No capabilities in the
// spec means none for the container.
func (b *builder) capabilities(c *specs.LinuxCapabilities) capabilitySets {
	if c == nil {
		return capabilitySets{}
	}
	all := uint64(1)<<min(uint(max(b.facts.LastCap, 0))+1, 63) - 1
	if b.facts.Caps != 0 && !b.users {
		all &= b.facts.Caps
	}
	s := capabilitySets{bounding: capMask(c.Bounding) & all, permitted: capMask(c.Permitted) & all}
	s.effective = capMask(c.Effective) & s.permitted
	s.inheritable = capMask(c.Inheritable) & all & s.bounding
	s.ambient = capMask(c.Ambient) & s.permitted & s.inheritable
	return s
}

func capMask(names []string) uint64 {
	var mask uint64
	for _, name := range names {
		known, found := strings.CutPrefix(name, "CAP_")
		if n := slices.Index(capNames, known); found && n >= 0 {
			mask |= 1 << n
		}
	}
	return mask
}
