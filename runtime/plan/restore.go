// SPDX-License-Identifier: Apache-2.0

package plan

import specs "github.com/opencontainers/runtime-spec/specs-go"

// NewRestore returns the plan of the program h (criu) that restores a container
// of this spec: in the container's v1 groups and in a mount namespace of its own, in
// which the root file system is mounted at Facts.Rootfs, as a mount of its own.
// What it restores inherits the groups, and makes its mounts from those that
// are seen here.
func NewRestore(spec *specs.Spec, f Facts, h Helper) (*Plan, error) {
	b := &builder{spec: spec, facts: f}
	b.joinCgroups()
	b.add(Step{Op: OpUnshare, A: cloneMount})
	b.add(Step{Op: OpPropagate, A: msPrivate | msRec})
	if len(f.RootfsMounts) == 0 {
		b.add(Step{Op: OpMountHost, A: msBind | msRec, S: [4]string{1: f.Rootfs, 2: f.Rootfs}})
	}
	b.mountRootfs()
	p, err := b.done()
	if err != nil {
		return nil, err
	}
	helper := NewHelper(h)
	for _, s := range helper.Steps {
		if s.FD >= 0 && s.FD < len(helper.Files) {
			s.FD += len(p.Files)
		}
		p.Steps = append(p.Steps, s)
	}
	p.Files = append(p.Files, helper.Files...)
	return p, nil
}
