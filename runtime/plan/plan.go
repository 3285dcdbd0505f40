// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"errors"

	"foundry/runtime/oci"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// New returns the plan of a container's init. The spec has passed
// [foundry/runtime/oci.Validate].
func New(spec *specs.Spec, f Facts) (*Plan, error) {
	if spec.Process == nil || spec.Linux == nil || spec.Root == nil {
		return nil, errors.New("make plan: the spec has no process, linux or root object")
	}
	b := newBuilder(spec, f)
	mounts := b.later(func() {
		b.mountTargets()
		b.mounts()
	})
	b.joinCgroups()
	if b.users {
		b.oomScore(spec.Process) // a lower one takes the host's rights
		b.enterUserNamespace()
		b.session(spec.Process)
		b.nameHost()
	} else {
		b.enterNamespaces()
		b.oomScore(spec.Process)
		b.session(spec.Process)
		b.nameHost()
		b.hostSide()
	}

	b.add(Step{Op: OpRoot, S: [4]string{2: f.Rootfs}})
	b.plan.Steps = append(b.plan.Steps, mounts...)
	b.devices()
	b.hooks()
	b.sysctls()
	b.tty(spec.Process, FlagConsole)
	b.pivot()

	b.makeCwd(spec.Process.Cwd)
	b.protect()
	b.process(spec.Process, initProcess)
	return b.done()
}

// NewExec returns the plan of a further process p in a running container of
// this spec. It joins every namespace that the spec names, whether the
// container made or joined it, through the init's pidfd (FileTarget). What p
// leaves out (capabilities, resource limits, scheduler, labels and the like) is
// as for the init; no_new_privs is as p says, and the filter is that of Facts.
func NewExec(spec *specs.Spec, p *specs.Process, f Facts) (*Plan, error) {
	if spec.Process == nil || spec.Linux == nil || p == nil {
		return nil, errors.New("make plan: the spec has no process or linux object")
	}
	b := newBuilder(spec, f)
	if err := oci.CheckUser(spec.Linux, p.User); err != nil {
		return nil, err
	}
	p = inherit(p, spec.Process)
	cpus := p.ExecCPUAffinity
	if cpus == nil {
		cpus = &specs.CPUAffinity{}
	}
	b.affinity("initial", cpus.Initial)
	b.joinCgroups()
	b.affinity("final", cpus.Final)
	b.oomScore(p)
	b.join(Namespaces(spec))
	b.session(p)
	b.tty(p, 0)
	b.process(p, execProcess)
	return b.done()
}

// inherit fills what an exec's process leaves out, as runc does; that does
// not do so for resource limits, which would free an exec of the container's.
func inherit(p, init *specs.Process) *specs.Process {
	out := *p
	if out.Capabilities == nil {
		out.Capabilities = init.Capabilities
	}
	if len(out.Rlimits) == 0 {
		out.Rlimits = init.Rlimits
	}
	if out.OOMScoreAdj == nil {
		out.OOMScoreAdj = init.OOMScoreAdj
	}
	if out.User.Umask == nil {
		out.User.Umask = init.User.Umask
	}
	if out.ApparmorProfile == "" {
		out.ApparmorProfile = init.ApparmorProfile
	}
	if out.SelinuxLabel == "" {
		out.SelinuxLabel = init.SelinuxLabel
	}
	if out.Scheduler == nil {
		out.Scheduler = init.Scheduler
	}
	if out.IOPriority == nil {
		out.IOPriority = init.IOPriority
	}
	if out.ExecCPUAffinity == nil {
		out.ExecCPUAffinity = init.ExecCPUAffinity
	}
	return &out
}

func newBuilder(spec *specs.Spec, f Facts) *builder {
	return &builder{spec: spec, facts: f, users: Namespaces(spec)&cloneUser != 0}
}

// later returns the steps that make adds, for a place further on.
func (b *builder) later(make func()) []Step {
	before := b.plan.Steps
	b.plan.Steps = nil
	make()
	steps := b.plan.Steps
	b.plan.Steps = before
	return steps
}
