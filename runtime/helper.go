// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"sync"
	"syscall"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"foundry/runtime/cgroup"
	"foundry/runtime/plan"
	"foundry/runtime/spawn"
)

// HelperConfig is a program of the host that runs for a container but not in
// it: a hook or a logger.
type HelperConfig struct {
	Path string
	Args []string // with the program's name first
	Env  []string
	Dir  string
	// Files are the helper's descriptors, from 0; nil is /dev/null. The caller
	// keeps them.
	Files  []*os.File
	OnExit func(Exit) // as in CreateConfig

	inside *Container     // whose namespaces it joins, or nil
	as     *specs.Process // of that container: the helper has its rights and is in its cgroup
}

// Helper starts a helper through the spawner, in the instance's own cgroup for
// helpers: what it uses is charged neither to a container nor to the server.
func (r *Runtime) Helper(ctx context.Context, cfg HelperConfig) (*Process, error) {
	p, err := r.helper(ctx, r.keys, cfg)
	if err != nil {
		return nil, fmt.Errorf("run helper %s: %w", cfg.Path, err)
	}
	p.child.arm(r.deliver(cfg.OnExit, nothingStored))
	return p, nil
}

// helper starts a helper with one of keys: those of a container for its hooks,
// so that delete finds them when the server dies meanwhile.
func (r *Runtime) helper(ctx context.Context, keys *keys, cfg HelperConfig) (*Process, error) {
	group, err := cfg.group(r)
	if err != nil {
		return nil, err
	}
	l := helperLaunch{keys: keys, group: group, files: atLeastThree(cfg.Files), at: cfg.listener}
	l.plan = func(tasks int) (*plan.Plan, error) {
		p := plan.NewHelper(cfg.helper(len(l.files) - 3))
		joinFirst(p, tasks)
		return p, nil
	}
	if cfg.inside != nil {
		l.target = cfg.inside.init.proc.Pidfd
	}
	return r.startHelper(ctx, l)
}

func atLeastThree(files []*os.File) []*os.File {
	files = slices.Clone(files)
	for len(files) < 3 {
		files = append(files, nil)
	}
	return files
}

// helperLaunch is a program of the host about to be started.
type helperLaunch struct {
	keys   *keys
	group  *cgroup.Group // where it is born
	files  []*os.File    // its descriptors, three or more
	target *os.File      // pidfd of whose namespaces it joins, or nil

	plan func(tasks int) (*plan.Plan, error) // with the entrance into so many v1 hierarchies
	at   func(context.Context, *Process) func(spawn.Point) error
}

// startHelper returns when the program runs.
func (r *Runtime) startHelper(ctx context.Context, h helperLaunch) (*Process, error) {
	in, err := enter(h.group, r.host.cgroups.Unified)
	if err != nil {
		return nil, err
	}
	defer in.close()
	p, err := h.plan(len(in.tasks))
	if err != nil {
		return nil, err
	}
	src := sources{stdio: Stdio{h.files[0], h.files[1], h.files[2]}, extra: h.files[3:], cgroup1: in.tasks, target: h.target}
	files, opened, err := src.open(p)
	if err != nil {
		return nil, err
	}
	defer closeAll(opened)
	proc, err := r.start(ctx, launch{child: h.keys.expect(&r.router), plan: p, files: files, cgroup: in.dir, helper: true})
	if err != nil {
		return nil, err
	}
	if err := r.untilExec(ctx, proc, h.at(ctx, proc)); err != nil {
		return nil, err
	}
	return proc, nil
}

// group is where the helper is: what the image brings is not let out of its
// container's.
func (cfg HelperConfig) group(r *Runtime) (*cgroup.Group, error) {
	if cfg.as != nil {
		return cfg.inside.group, nil
	}
	return r.helpers.open(r)
}

// helper is what cfg is for the plan.
func (cfg HelperConfig) helper(extra int) plan.Helper {
	h := plan.Helper{Path: cfg.Path, Args: cfg.Args, Env: cfg.Env, Dir: cfg.Dir, ExtraFiles: extra}
	if c := cfg.inside; c != nil {
		h.Join, h.As, h.Facts = plan.Namespaces(c.spec)&^c.facts.HostNamespaces, cfg.as, c.facts
	}
	return h
}

// listener is what is done where a helper stops: those with the rights of a
// process have its filter.
func (cfg HelperConfig) listener(ctx context.Context, p *Process) func(spawn.Point) error {
	if cfg.as == nil {
		return p.unexpected
	}
	return cfg.inside.onListener(ctx, p)
}

// KillHelper kills a helper and what it has started. One that has ended itself
// may have left something; a kernel before Linux 6.9 cannot say what.
func (r *Runtime) KillHelper(ctx context.Context, p *Process) error {
	return r.killSession(ctx, p)
}

// killSession kills a helper and, since it leads a session, what it has started
// and did not send elsewhere.
func (r *Runtime) killSession(ctx context.Context, p *Process) error {
	err := p.proc.KillGroup()
	if errors.Is(err, errors.ErrUnsupported) {
		// Stopped, for otherwise the end of its children lets a script go on.
		err = errors.Join(p.proc.Signal(syscall.SIGSTOP), r.killMembers(ctx, p), p.proc.Signal(syscall.SIGKILL))
	}
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// killMembers kills those in the session of p, without p. While p is there the
// number of its session is nobody else's.
func (r *Runtime) killMembers(ctx context.Context, p *Process) error {
	for {
		pids, err := r.helpers.pids()
		if err != nil {
			return err
		}
		found := false
		for _, pid := range pids {
			member := func() bool {
				session, err := unix.Getsid(pid)
				return err == nil && session == p.Pid() && !p.isDead()
			}
			if pid == p.Pid() || !member() {
				continue
			}
			found = true
			if err := endProcess(ctx, pid, member); err != nil {
				return err
			}
		}
		if !found {
			return nil
		}
	}
}

// joinFirst has a plan begin with the entrance into n v1 hierarchies.
func joinFirst(p *plan.Plan, n int) {
	var steps []plan.Step
	for i := range n {
		steps = append(steps, plan.Step{Op: plan.OpCgroup1, FD: len(p.Files)})
		p.Files = append(p.Files, plan.File{Kind: plan.FileCgroup1, N: i})
	}
	p.Steps = append(steps, p.Steps...)
}

// helperGroup is the cgroup of an instance's hooks and loggers, made for the
// first of them. It stays when the server ends: loggers may outlive it.
type helperGroup struct {
	mu    sync.Mutex // guards group
	group *cgroup.Group
}

func (h *helperGroup) open(r *Runtime) (*cgroup.Group, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.group != nil {
		return h.group, nil
	}
	g, err := cgroup.Own(cgroup.Config{
		Info: r.host.cgroups, Path: path.Join(r.ownGroup(), "helpers"),
	})
	if err != nil {
		return nil, fmt.Errorf("make the helpers' cgroup: %w", err)
	}
	h.group = g
	return g, nil
}

func (h *helperGroup) pids() ([]int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.group == nil {
		return nil, nil
	}
	return h.group.Pids()
}

func (h *helperGroup) close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.group == nil {
		return nil
	}
	if pids, err := h.group.Pids(); err != nil || len(pids) > 0 {
		return err
	}
	err := h.group.Remove()
	h.group = nil
	return err
}
