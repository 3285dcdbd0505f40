// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"path"
	"strings"

	"foundry/runtime/oci"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// propagate cuts or keeps the ties to the host's mounts before the first
// mount is made. Slave is runc's default: what the host unmounts goes away
// here as well.
func (b *builder) propagate() {
	flags := uint64(msSlave | msRec)
	if mode, found := propagationOptions[b.spec.Linux.RootfsPropagation]; found {
		flags = mode
	}
	b.add(Step{Op: OpPropagate, A: flags})
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
	for i, m := range b.spec.Mounts {
		at := fmt.Sprintf("mounts[%d]", i)
		o := parseOptions(m.Options)
		dest := inRoot(m.Destination)
		switch {
		case oci.IsBind(m):
			o.rec = o.rec || m.Type == "rbind"
			b.bind(at, Step{S: [4]string{1: b.hostPath(m.Source), 2: dest}}, o)
		case m.Type == "cgroup":
			b.cgroup(at, m, o)
		case dest == "/dev" && o.plain.set&attrRdonly != 0:
			// It has to be written to until the nodes are there, and no step
			// changes a mount that exists.
			b.fail(&oci.UnsupportedError{Path: at + ".options", What: `"ro" on /dev is`})
		default:
			b.mount(at, m, o)
		}
	}
}

func inRoot(p string) string {
	return path.Clean("/" + p)
}

// hostPath resolves a relative source against the bundle.
func (b *builder) hostPath(p string) string {
	if path.IsAbs(p) {
		return p
	}
	return path.Join(b.facts.Bundle, p)
}

// mount makes a mount of a new file system.
func (b *builder) mount(at string, m specs.Mount, o mountOptions) {
	data := append(append([]string{}, o.data...), o.super...)
	set := o.plain.set&^o.tree.clear | o.tree.set
	if set&attrRdonly != 0 && m.Type != "tmpfs" {
		// As mount(2) does it: the superblock too. Not tmpfs: then nothing
		// could be mounted inside of it any more.
		data = append(data, "ro")
	}
	b.add(Step{
		Op: OpMount, A: set, C: o.propagate,
		S: [4]string{m.Type, m.Source, inRoot(m.Destination), b.list(at+".options", data)},
	})
}

// bind completes a step that has its source and destination.
//
// An option that adds an attribute replaces all that the source's mount has,
// other than its access time: mount --bind -o does so, and runc. Options that
// only take away (rw, exec) take away just that.
func (b *builder) bind(at string, s Step, o mountOptions) {
	if len(o.data) > 0 {
		b.fail(invalid(at+".options", "%q has no meaning for a bind mount", o.data[0]))
		return
	}
	plain := o.plain
	if plain.asked {
		plain.clear |= attrFlags &^ plain.set
	}
	s.Op, s.C = OpBind, o.propagate
	switch {
	case o.tree == (attrs{}) || !o.rec:
		s.A = plain.set&^o.tree.clear | o.tree.set
		s.B = plain.clear&^(o.tree.set&attrFlags) | o.tree.clear
	case o.plain.set&^o.tree.set == 0 && o.plain.clear&^o.tree.clear == 0:
		s.Flags |= FlagAttrRec
		s.A, s.B = o.tree.set, o.tree.clear
	default:
		b.fail(&oci.UnsupportedError{Path: at + ".options", What: "recursive and other attributes beside each other are"})
		return
	}
	if o.rec {
		s.Flags |= FlagRec
	}
	b.add(s)
}

// protect makes read-only and hides what the spec names. It comes last: no
// step after it makes a file.
func (b *builder) protect() {
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

// makeCwd makes the working directory while the root may be written to. The
// process enters it again later: a mask may cover it by then.
func (b *builder) makeCwd(cwd string) {
	if path.Clean(cwd) != "/" {
		b.add(Step{Op: OpChdir, Flags: FlagMkdir, S: [4]string{cwd}})
	}
}

// cgroup shows the container its own groups.
func (b *builder) cgroup(at string, m specs.Mount, o mountOptions) {
	if b.facts.Unified {
		m.Type = "cgroup2"
		b.mount(at, m, o)
		return
	}
	const attr = attrNosuid | attrNodev | attrNoexec
	dest := inRoot(m.Destination)
	b.add(Step{Op: OpMount, A: attr, C: o.propagate, S: [4]string{"tmpfs", "tmpfs", dest, "mode=755"}})
	_, private := b.namespace("cgroup")
	for _, c := range b.facts.Cgroups {
		target := path.Join(dest, c.Name)
		if !private {
			o := o
			o.rec, o.data = true, nil
			b.bind(at, Step{S: [4]string{1: path.Join(c.Mountpoint, c.Path), 2: target}}, o)
			continue
		}
		b.add(Step{
			Op: OpMount, A: attr | o.plain.set&attrRdonly, C: o.propagate,
			S: [4]string{"cgroup", cgroupSource(c), target, b.list(at, c.options())},
		})
	}
	for _, c := range b.facts.Cgroups {
		for _, name := range strings.Split(c.Name, ",") {
			if name != c.Name {
				b.add(Step{Op: OpSymlink, S: [4]string{c.Name, "", path.Join(dest, name)}})
			}
		}
	}
}

// options are what tells the kernel which existing hierarchy is meant.
func (c CgroupFact) options() []string {
	switch {
	case len(c.Controllers) > 0:
		return c.Controllers
	case c.Name == "systemd":
		return []string{"name=systemd"}
	}
	return strings.Split(c.Name, ",")
}

func cgroupSource(c CgroupFact) string {
	if c.Name == "systemd" {
		return "systemd"
	}
	return "cgroup"
}
