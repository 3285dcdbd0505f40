// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
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
	b.unshare(fresh)
}

func (b *builder) unshare(fresh uint64) {
	if fresh != 0 {
		b.add(Step{Op: OpUnshare, A: fresh})
	}
	if fresh&cloneTime != 0 {
		b.timeOffsets()
	}
	if fresh&cloneNet != 0 {
		b.add(Step{Op: OpLoopback})
	}
}

// timeOffsets are in order of their clocks: the spec has a map. The step is
// there without any too: a new time namespace is for children until it is
// entered.
func (b *builder) timeOffsets() {
	var text []byte
	for _, clock := range []string{"boottime", "monotonic"} {
		if o, found := b.spec.Linux.TimeOffsets[clock]; found {
			text = fmt.Appendf(text, "%s %d %d\n", clock, o.Secs, o.Nanosecs)
		}
	}
	b.add(Step{Op: OpTime, S: [4]string{string(text)}})
}

// hostSide is what happens with the host's rights: all that a user namespace
// would forbid. Copies of mounts that are to stay peers of the host's are taken
// while all are.
func (b *builder) hostSide() {
	if b.shares() {
		b.plan.Steps = append(b.plan.Steps, b.sources...)
		b.propagate()
		b.mountRootfs()
		return
	}
	b.propagate()
	b.mountRootfs()
	b.plan.Steps = append(b.plan.Steps, b.sources...)
}

// enterUserNamespace is the way into the namespaces when one of them is a user
// namespace, from where nothing of the host can be reached any more: so joins,
// the root's mounts and the sources of the others come first. They are made in
// a mount namespace of the host's, of which the container's own is a copy.
func (b *builder) enterUserNamespace() {
	var fresh uint64
	fork := false
	for _, known := range namespaces {
		ns, found := b.namespace(known.kind)
		switch {
		case !found:
		case ns.Path != "":
			b.addFile(File{Kind: FileNamespace, Path: ns.Path, NSType: known.flag}, Step{Op: OpSetns, A: known.flag})
			fork = fork || known.flag == clonePID
		default:
			fresh |= known.flag
		}
	}
	if fresh&cloneMount != 0 {
		b.add(Step{Op: OpUnshare, A: cloneMount})
	}
	b.hostSide()
	b.enterUsers()
	if fresh&clonePID != 0 {
		b.add(Step{Op: OpUnshare, A: clonePID})
	}
	if fork || fresh&clonePID != 0 {
		b.add(Step{Op: OpFork})
	}
	b.unshare(fresh &^ clonePID)
}

// enterUsers makes or joins the user namespace and becomes its root.
func (b *builder) enterUsers() {
	if ns, _ := b.namespace("user"); ns.Path != "" {
		s := Step{Op: OpSetns, A: cloneUser}
		s.FD = b.userFile(ns.Path)
		b.plan.Steps = append(b.plan.Steps, s)
	} else {
		l := b.spec.Linux
		b.add(Step{Op: OpMapUsers, S: [4]string{oci.MapText(l.UIDMappings), oci.MapText(l.GIDMappings)}})
	}
	b.add(Step{Op: OpRootUser})
}

// userFile is the joined user namespace among the plan's files: mounts that
// take its maps, and the process, need the same.
func (b *builder) userFile(path string) int {
	for i, f := range b.plan.Files {
		if f.Kind == FileNamespace && f.NSType == cloneUser {
			return i
		}
	}
	b.plan.Files = append(b.plan.Files, File{Kind: FileNamespace, Path: path, NSType: cloneUser})
	return len(b.plan.Files) - 1
}

// Namespaces is the CLONE_NEW* mask of the namespaces that a container does
// not share with the server, whether it made or joined them: what an exec, and
// a hook in the container, joins.
func Namespaces(spec *specs.Spec) uint64 {
	var mask uint64
	for _, ns := range spec.Linux.Namespaces {
		mask |= namespaceFlag(ns.Type)
	}
	return mask
}

// join enters the namespaces of the container's init at once.
func (b *builder) join(mask uint64) {
	b.addFile(File{Kind: FileTarget}, Step{Op: OpSetns, A: mask})
	if mask&cloneUser != 0 {
		b.add(Step{Op: OpRootUser})
	}
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
	if b.facts.CreateContainerHooks {
		b.add(Step{Op: OpHooks, A: HookCreateContainer})
	}
}

// sysctls are in order of their names: the spec has a map. Package oci let
// through what belongs to a namespace of the spec; one that is given by path
// and is the host's own would have the host changed.
func (b *builder) sysctls() {
	names := make([]string, 0, len(b.spec.Linux.Sysctl))
	for name := range b.spec.Linux.Sysctl {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		file := oci.SysctlPath(name)
		if kind := oci.SysctlNamespace(file); b.facts.HostNamespaces&namespaceFlag(kind) != 0 {
			ns, _ := b.namespace(string(kind))
			b.fail(invalid(fmt.Sprintf("linux.sysctl[%q]", name), "the %q namespace at %q is the host's own", kind, ns.Path))
			return
		}
		b.add(Step{Op: OpSysctl, S: [4]string{file, b.spec.Linux.Sysctl[name]}})
	}
}
