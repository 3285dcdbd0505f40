// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"errors"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// New returns the plan of a container's init. The spec has passed
// [foundry/runtime/oci.Validate].
func New(spec *specs.Spec, f Facts) (*Plan, error) {
	b := &builder{spec: spec, facts: f}
	if spec.Process == nil || spec.Linux == nil || spec.Root == nil {
		return nil, errors.New("make plan: the spec has no process, linux or root object")
	}
	b.joinCgroups()
	b.enterNamespaces()
	b.oomScore(spec.Process)
	b.session(spec.Process)
	b.nameHost()

	b.propagate()
	b.mountRootfs()
	b.add(Step{Op: OpRoot, S: [4]string{2: f.Rootfs}})
	b.mountTargets()
	b.mounts()
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
// leaves out (capabilities, resource limits, oom score, umask) is as for the
// init; no_new_privs is as p says, and the filter is that of Facts.
func NewExec(spec *specs.Spec, p *specs.Process, f Facts) (*Plan, error) {
	b := &builder{spec: spec, facts: f}
	if spec.Process == nil || spec.Linux == nil || p == nil {
		return nil, errors.New("make plan: the spec has no process or linux object")
	}
	p = inherit(p, spec.Process)
	b.joinCgroups()
	b.oomScore(p)
	b.joinTarget()
	b.session(p)
	b.tty(p, 0)
	b.process(p, execProcess)
	return b.done()
}

// inherit fills what an exec's process leaves out, as runc does.
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
	return &out
}

// NewHelper returns the plan of a hook or logger. Its argument strings end at
// their first NUL, as execve would read them.
func NewHelper(h Helper) *Plan {
	b := &builder{}
	b.add(Step{Op: OpSetsid})
	b.stdio()
	for i := range h.ExtraFiles {
		b.addFile(File{Kind: FileExtra, N: i}, Step{Op: OpDup, A: uint64(3 + i)})
	}
	b.add(Step{Op: OpUmask, A: defaultUmask})
	dir := h.Dir
	if dir == "" {
		dir = "/"
	}
	b.add(Step{Op: OpChdir, S: [4]string{cString(dir)}})
	args := h.Args
	if len(args) == 0 {
		args = []string{h.Path}
	}
	b.add(Step{Op: OpExecHost, S: [4]string{cStrings(args), cStrings(h.Env), cString(h.Path)}})
	return &b.plan
}

func cString(s string) string {
	s, _, _ = strings.Cut(s, "\x00")
	return s
}

func cStrings(list []string) string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = cString(s)
	}
	return strings.Join(out, "\x00")
}
