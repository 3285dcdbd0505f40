// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"path"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// unifiedMountpoint is where every host has its v2 tree.
const unifiedMountpoint = "/sys/fs/cgroup"

// cgroup shows the container its own groups.
func (b *builder) cgroup(at string, m specs.Mount, o mountOptions) {
	_, private := b.namespace("cgroup")
	switch {
	case b.facts.Unified && b.users && !private:
		// The root of the host's tree belongs to the host's users: the kernel
		// lets nobody else mount it. runc binds it as well.
		o.rec = true
		b.bind(bindMount{at: at, source: unifiedMountpoint, dest: inRoot(m.Destination), options: o})
		return
	case b.facts.Unified:
		m.Type = "cgroup2"
		b.mount(at, m, o)
		return
	}
	const attr = attrNosuid | attrNodev | attrNoexec
	dest := inRoot(m.Destination)
	data := append([]string{"mode=755"}, b.mountLabel("tmpfs")...)
	b.add(Step{Op: OpMount, A: attr, C: o.propagate, S: [4]string{"tmpfs", "tmpfs", dest, b.list(at, data)}})
	for _, c := range b.facts.Cgroups {
		target := path.Join(dest, c.Name)
		if !private {
			o := o
			o.rec = true
			b.bind(bindMount{at: at, source: path.Join(c.Mountpoint, c.Path), dest: target, options: o})
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
