// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Helper is a hook or a logger: a program that a container needs and that is
// not its own.
type Helper struct {
	Path       string   // absolute
	Args       []string // argv; empty: Path alone
	Env        []string
	Dir        string // working directory; empty: "/"
	ExtraFiles int    // descriptors 3 and up, after standard input, output and error

	// Join is a CLONE_NEW* mask of the namespaces of FileTarget, the container's
	// init, that the helper runs in; 0: the server's. With the mount namespace,
	// Path and Dir are looked up in what is the root there: the host's until
	// pivot_root (createContainer hooks), the container's after it
	// (startContainer hooks).
	Join uint64

	// As is the process whose user, groups, umask, limits, scheduling,
	// capabilities, no_new_privs, labels and filter the helper gets; nil: it
	// runs as root. Facts are those of the container then.
	As    *specs.Process
	Facts Facts
}

// NewHelper returns the plan of a hook or logger. Its argument strings end at
// their first NUL, as execve would read them.
func NewHelper(h Helper) *Plan {
	b := &builder{facts: h.Facts, users: h.Join&cloneUser != 0}
	if h.Join != 0 {
		b.join(h.Join)
	}
	b.add(Step{Op: OpSetsid})
	b.stdio()
	for i := range h.ExtraFiles {
		b.addFile(File{Kind: FileExtra, N: i}, Step{Op: OpDup, A: uint64(3 + i)})
	}
	umask := uint64(defaultUmask)
	if h.As != nil && h.As.User.Umask != nil {
		umask = uint64(*h.As.User.Umask)
	}
	b.add(Step{Op: OpUmask, A: umask})
	dir := h.Dir
	if dir == "" {
		dir = "/"
	}
	b.add(Step{Op: OpChdir, S: [4]string{cString(dir)}})
	if h.As != nil {
		b.confine(h.As)
	}
	args := h.Args
	if len(args) == 0 {
		args = []string{h.Path}
	}
	b.add(Step{Op: OpExecHost, S: [4]string{cStrings(args), cStrings(h.Env), cString(h.Path)}})
	return &b.plan
}

// confine makes a helper what the container's own process is. What could fail
// here has failed before, in the plan of the container.
//
// The filter has no listener: there is one for a container, and that belongs
// to its init. A call that the filter asks about gives the helper ENOSYS.
func (b *builder) confine(p *specs.Process) {
	b.facts.SeccompListener = false
	b.facts.SeccompFlags &^= filterWaitKillable
	b.rlimits(p.Rlimits)
	b.scheduling(p)
	if p.NoNewPrivileges {
		b.add(Step{Op: OpNoNewPrivs})
		b.credentials(p)
		b.label(p)
		b.filter()
		return
	}
	b.label(p)
	b.filter()
	b.credentials(p)
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
