// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"

	"foundry/runtime/oci"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// maxSources is how many copies of mounts a stage keeps.
const maxSources = 64

// bindMount is a bind mount to be made.
type bindMount struct {
	at           string // JSON path, for errors
	source, dest string // host path, path in root
	options      mountOptions
	idmapped     bool
	uids, gids   []specs.LinuxIDMapping // empty: those of the container
}

// bind makes a bind mount.
//
// An option that adds an attribute replaces all that the source's mount has,
// other than its access time: mount --bind -o does so, and runc. Options that
// only take away (rw, exec) take away just that. Options with a leading r are
// for the mounts below too, and win. What no table knows is for a file system,
// and mount(2) ignores it for a bind: so it is here.
func (b *builder) bind(m bindMount) {
	o := m.options
	s := Step{Op: OpBind, C: o.propagate, S: [4]string{1: m.source, 2: m.dest}}
	if o.rec {
		s.Flags |= FlagRec
	}
	rest := o.tree.onBind(o.plain, &s)
	b.addBind(m, s)
	if rest {
		b.add(Step{Op: OpRemount, Flags: FlagAttrRec, A: o.tree.set, B: o.tree.clear, S: [4]string{2: m.dest}})
	}
}

// onBind puts attributes into a step, those of the tree and those of its root
// mount, as far as one step can have both. It reports whether those of the
// tree are left for a step of their own.
func (tree attrs) onBind(plain attrs, s *Step) bool {
	covered := plain.set&^tree.set == 0 && plain.clear&^tree.clear == 0
	if plain.asked {
		plain.clear |= attrFlags &^ plain.set
	}
	switch {
	case s.Flags&FlagRec == 0 || tree == (attrs{}):
		s.A = plain.set&^tree.clear | tree.set
		s.B = plain.clear&^(tree.set&attrFlags) | tree.clear
	case covered:
		s.Flags |= FlagAttrRec
		s.A, s.B = tree.set, tree.clear
	default:
		s.A, s.B = plain.set, plain.clear
		return true
	}
	return false
}

// addBind adds the step, and the one that gets its source ready where the
// host's rights are gone by the time of the mount, or its ties to the host, or a
// map takes them. A stage keeps only so many of those: what is merely behind a
// user namespace can do without, if its users may reach the source.
func (b *builder) addBind(m bindMount, s Step) {
	if m.idmapped {
		b.idmapped--
	}
	n := len(b.sources)
	must := m.idmapped || b.shares() && m.options.propagate&(msPrivate|msSlave) == 0
	if !must && (!b.users || n+b.idmapped >= maxSources) {
		b.add(s)
		return
	}
	if n >= maxSources {
		b.fail(&oci.UnsupportedError{Path: m.at, What: fmt.Sprintf("more than %d mounts that are idmapped, or shared with the host, are", maxSources)})
		return
	}
	source := Step{Op: OpSource, Flags: s.Flags & FlagRec, FD: -1, A: uint64(n), S: [4]string{1: m.source}}
	if m.idmapped {
		b.idmap(m, &source)
	}
	b.sources = append(b.sources, source)
	s.Flags, s.FD, s.S[1] = s.Flags&^FlagRec|FlagSource, n, ""
	b.plan.Steps = append(b.plan.Steps, s)
}

// idmap gives a source its maps: the mount's own, else those of the user
// namespace, which is known by its maps or its path.
func (b *builder) idmap(m bindMount, s *Step) {
	if m.options.idmapRec {
		s.Flags |= FlagAttrRec
	}
	uids, gids := m.uids, m.gids
	if len(uids) == 0 {
		uids, gids = b.spec.Linux.UIDMappings, b.spec.Linux.GIDMappings
	}
	if ns, _ := b.namespace("user"); len(m.uids) == 0 && ns.Path != "" {
		s.FD = b.userFile(ns.Path)
		return
	}
	s.S[0], s.S[3] = oci.MapText(uids), oci.MapText(gids)
}

// remount changes a mount that is there, as mount(2) does: attributes that are
// not asked for go away, except for those of the access time, which stay
// unless one of them is named.
//
// Options of the file system change its superblock, which is done only where
// one of the mounts before has made it: that of a bind mount is the host's. ro
// and rw are the mount's, since the kernel's file systems have one superblock
// for all; only a read-only one of our own becomes writable again.
func (b *builder) remount(i int, m specs.Mount, o mountOptions) {
	at, dest := fmt.Sprintf("mounts[%d].options", i), inRoot(m.Destination)
	made, own := madeAt(b.spec.Mounts[:i], dest)
	super := append(append([]string{}, o.data...), o.super...)
	if len(super) > 0 && (!own || o.bind) {
		b.fail(invalid(at, "%q changes a file system, and %s is none that the container has mounted", super[0], dest))
		return
	}
	if own && !o.bind && made.readonly() && m.Type != "tmpfs" && o.plain.set&attrRdonly == 0 {
		super = append(super, "rw")
	}
	set, clear := o.plain.set, attrFlags&^o.plain.set
	if (set|o.plain.clear)&(attrAtime|attrNodiratime) != 0 {
		clear |= attrAtime
	} else {
		clear &^= attrNodiratime
	}
	if dest == "/dev" && own {
		set &^= attrRdonly // protect does it
	}
	b.add(Step{Op: OpRemount, A: set, B: clear, C: o.propagate, S: [4]string{2: dest, 3: b.list(at, super)}})
	if o.tree != (attrs{}) {
		b.add(Step{Op: OpRemount, Flags: FlagAttrRec, A: o.tree.set, B: o.tree.clear, S: [4]string{2: dest}})
	}
}

// madeAt returns the options of the last of some mounts that made one at dest,
// and whether that is a file system with a superblock that may be changed.
func madeAt(mounts []specs.Mount, dest string) (o mountOptions, own bool) {
	for _, m := range mounts {
		if inRoot(m.Destination) != dest {
			continue
		}
		if at := parseOptions(m.Options); !at.remount {
			o, own = at, !oci.IsBind(m) && m.Type != "cgroup"
		}
	}
	return o, own
}
