// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"path"
	"sort"

	"foundry/runtime/oci"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// namespace returns the spec's namespace of a kind.
func (b *builder) namespace(kind string) (specs.LinuxNamespace, bool) {
	for _, ns := range b.spec.Linux.Namespaces {
		if string(ns.Type) == kind {
			return ns, true
		}
	}
	return specs.LinuxNamespace{}, false
}

// joinCgroups moves the process into the container's v1 groups. With v2 alone
// it was cloned there.
func (b *builder) joinCgroups() {
	for i, c := range b.facts.Cgroups {
		b.addFile(File{Kind: FileCgroup1, Path: path.Join(c.Mountpoint, c.Path), N: i}, Step{Op: OpCgroup1})
	}
}

// enterNamespaces joins those with a path and makes the others. The kinds that
// we do not know were refused with the spec.
func (b *builder) enterNamespaces() {
	var fresh uint64
	for _, known := range namespaces {
		ns, found := b.namespace(known.kind)
		switch {
		case !found:
		case ns.Path != "":
			b.addFile(File{Kind: FileNamespace, Path: ns.Path, NSType: known.flag}, Step{Op: OpSetns, A: known.flag})
			if known.flag == clonePID {
				b.add(Step{Op: OpFork})
			}
		case known.flag == clonePID:
			b.plan.Clone |= clonePID
		default:
			fresh |= known.flag
		}
	}
	if fresh != 0 {
		b.add(Step{Op: OpUnshare, A: fresh})
	}
	if fresh&cloneNet != 0 {
		b.add(Step{Op: OpLoopback})
	}
}

// joinTarget joins the namespaces of the container's init at once.
func (b *builder) joinTarget() {
	var mask uint64
	for _, known := range namespaces {
		if _, found := b.namespace(known.kind); found {
			mask |= known.flag
		}
	}
	b.addFile(File{Kind: FileTarget}, Step{Op: OpSetns, A: mask})
	if mask&clonePID != 0 {
		b.add(Step{Op: OpFork})
	}
}

// nameHost also serves a joined namespace: the members of a pod all say the
// same name.
func (b *builder) nameHost() {
	if b.spec.Hostname != "" {
		b.add(Step{Op: OpHostname, S: [4]string{b.spec.Hostname}})
	}
	if b.spec.Domainname != "" {
		b.add(Step{Op: OpDomainname, S: [4]string{b.spec.Domainname}})
	}
}

func (b *builder) hooks() {
	if b.facts.Hooks {
		b.add(Step{Op: OpHooks, A: HookCreateRuntime})
	}
}

// sysctls are in order of their names: the spec has a map.
func (b *builder) sysctls() {
	names := make([]string, 0, len(b.spec.Linux.Sysctl))
	for name := range b.spec.Linux.Sysctl {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		b.add(Step{Op: OpSysctl, S: [4]string{oci.SysctlPath(name), b.spec.Linux.Sysctl[name]}})
	}
}
