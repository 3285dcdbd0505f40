// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"path"
	"strings"

	"foundry/runtime/oci"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// propagate cuts the ties to the host's mounts before the first mount is made,
// so that none of them appears there. Slave is runc's default: what the host
// unmounts goes away here as well. That the root be shared is for pivot.
func (b *builder) propagate() {
	const cut = msSlave | msRec
	mode := propagationOptions[b.spec.Linux.RootfsPropagation]
	if mode&msRec == 0 || mode&msShared != 0 {
		b.add(Step{Op: OpPropagate, A: cut})
	}
	if mode != 0 && mode&msShared == 0 {
		b.add(Step{Op: OpPropagate, A: mode})
	}
}

// shares says whether bind mounts are peers of the host's, so that what is
// mounted in one appears in the other: with a shared root, unless a mount has an
// option of its own. The root of a user namespace must not mount on the host.
func (b *builder) shares() bool {
	return propagationOptions[b.spec.Linux.RootfsPropagation]&msShared != 0 && !b.users
}

// pivot changes the root, and then its propagation where the spec asks for
// one that would have reached the host before.
func (b *builder) pivot() {
	var move uint64
	if b.facts.NoPivotRoot {
		move = 1
	}
	b.add(Step{Op: OpPivot, A: move})
	mode := propagationOptions[b.spec.Linux.RootfsPropagation]
	if mode&(msShared|msUnbindable) != 0 {
		b.add(Step{Op: OpRootPropagate, A: mode})
	}
}

// mounts makes the spec's mounts in their order.
func (b *builder) mounts() {
	for _, m := range b.spec.Mounts {
		if oci.IsIDMapped(m) {
			b.idmapped++
		}
	}
	for i, m := range b.spec.Mounts {
		at := fmt.Sprintf("mounts[%d]", i)
		o := parseOptions(m.Options)
		switch {
		case o.remount:
			b.remount(i, m, o)
		case oci.IsBind(m):
			o.rec = o.rec || m.Type == "rbind"
			b.bind(bindMount{
				at: at, source: b.hostPath(m.Source), dest: inRoot(m.Destination), options: o,
				idmapped: oci.IsIDMapped(m), uids: m.UIDMappings, gids: m.GIDMappings,
			})
		case m.Type == "cgroup":
			b.cgroup(at, m, o)
		default:
			b.mount(at, m, o)
		}
	}
}

func inRoot(p string) string {
	return path.Clean("/" + p)
}

func (b *builder) hostPath(p string) string { return HostPath(b.facts.Bundle, p) }

// HostPath resolves a relative source against the bundle.
func HostPath(bundle, p string) string {
	if path.IsAbs(p) {
		return p
	}
	return path.Join(bundle, p)
}

// mount makes a mount of a new file system. /dev is writable until protect:
// its nodes are still to be made. So is a tmpfs with mounts below it, whose
// mount points are.
func (b *builder) mount(at string, m specs.Mount, o mountOptions) {
	dest := inRoot(m.Destination)
	set := o.attrs()
	if dest == "/dev" || m.Type == "tmpfs" && b.filled(dest) {
		set &^= attrRdonly
	}
	data := append(append([]string{}, o.data...), o.super...)
	if set&attrRdonly != 0 && m.Type != "tmpfs" {
		// As mount(2) does it: the superblock too. Not tmpfs: then nothing
		// could be mounted inside of it any more.
		data = append(data, "ro")
	}
	if o.iversion && m.Type == "ext4" {
		// What kernels before 6.1 call it; for others it is on, or there is
		// no such thing.
		data = append(data, "i_version")
	}
	data = append(data, b.mountLabel(m.Type)...)
	s := Step{Op: OpMount, A: set, C: o.propagate, S: [4]string{m.Type, m.Source, dest, b.list(at+".options", data)}}
	if o.loop {
		s.Flags |= FlagLoop
		s.S[1] = b.hostPath(m.Source)
	}
	if o.copyUp {
		s.Flags |= FlagCopyUp
	}
	b.add(s)
}

// protect makes read-only and hides what the spec names. It comes last: no
// step after it makes a file.
func (b *builder) protect() {
	if b.readonlyDev() {
		b.add(Step{Op: OpRemount, A: attrRdonly, S: [4]string{2: "/dev"}})
	}
	for i, m := range b.spec.Mounts {
		if b.readonlyAtLast(i) {
			b.add(Step{Op: OpRemount, A: attrRdonly, S: [4]string{2: inRoot(m.Destination)}})
		}
	}
	if b.spec.Root.Readonly {
		b.add(Step{Op: OpRootReadonly})
	}
	for _, p := range b.spec.Linux.ReadonlyPaths {
		b.add(Step{Op: OpReadonly, S: [4]string{2: inRoot(p)}})
	}
	for _, p := range b.spec.Linux.MaskedPaths {
		b.add(Step{Op: OpMask, S: [4]string{2: inRoot(p)}})
	}
}

// filled says whether something is to be made in the file system on dest.
func (b *builder) filled(dest string) bool {
	for _, m := range b.spec.Mounts {
		if strings.HasPrefix(inRoot(m.Destination), dest+"/") {
			return true
		}
	}
	for _, d := range b.spec.Linux.Devices {
		if strings.HasPrefix(inRoot(d.Path), dest+"/") {
			return true
		}
	}
	return false
}

// readonlyAtLast says whether mount i is a tmpfs that was mounted writable for
// what is made in it, shall not stay so, and is not covered by another.
func (b *builder) readonlyAtLast(i int) bool {
	m := b.spec.Mounts[i]
	dest := inRoot(m.Destination)
	if m.Type != "tmpfs" || dest == "/dev" || oci.IsBind(m) {
		return false
	}
	if o := parseOptions(m.Options); o.remount || !o.readonly() || !b.filled(dest) {
		return false
	}
	for _, later := range b.spec.Mounts[i+1:] {
		if inRoot(later.Destination) == dest {
			return false
		}
	}
	return true
}

// readonlyDev says whether the file system on /dev, which was mounted writable
// for its nodes, shall not stay so.
func (b *builder) readonlyDev() bool {
	if _, own := madeAt(b.spec.Mounts, "/dev"); !own {
		return false
	}
	readonly := false
	for _, m := range b.spec.Mounts {
		if inRoot(m.Destination) == "/dev" {
			readonly = parseOptions(m.Options).readonly()
		}
	}
	return readonly
}

// makeCwd makes the working directory while the root may be written to. The
// process enters it again later: a mask may cover it by then.
func (b *builder) makeCwd(cwd string) {
	if path.Clean(cwd) != "/" {
		b.add(Step{Op: OpChdir, Flags: FlagMkdir, S: [4]string{cwd}})
	}
}
