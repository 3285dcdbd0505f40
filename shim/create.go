// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"context"
	"errors"
	"fmt"
	"time"

	task "github.com/containerd/containerd/api/runtime/task/v2"
	"github.com/containerd/containerd/api/types"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"foundry/runtime"
	"foundry/runtime/plan"
	"foundry/shim/stdio"
	"foundry/shim/trace"
)

// create makes a container. Its id is taken before the first effect and free
// again when the create has failed; until it is through, the id is unknown to
// every other call.
func (s *Service) create(ctx context.Context, k Key, req *task.CreateTaskRequest) (int, error) {
	opts, err := parseOptions(req.Options)
	if err != nil {
		return 0, err
	}
	c := newContainer(k, s)
	c.bundle, c.mounts, c.from = req.Bundle, req.Rootfs, req.Checkpoint
	c.procs[""].urls = streams{Stdin: req.Stdin, Stdout: req.Stdout, Stderr: req.Stderr, Terminal: req.Terminal}
	ctx, c.cancel = context.WithCancel(ctx)
	defer c.cancel()
	if err := s.table.reserve(c); err != nil {
		return 0, err
	}
	defer close(c.ready)
	c.span = trace.From(ctx)
	c.noteCreate()
	pid, err := s.build(ctx, c, opts)
	if err != nil {
		s.table.release(c)
		c.noteFailure(err)
		return 0, err
	}
	return pid, nil
}

// build makes the streams and the processes of c and publishes TaskCreate.
func (s *Service) build(ctx context.Context, c *container, opts options) (pid int, err error) {
	init := c.procs[""]
	io, err := s.openIO(ctx, c, init, opts)
	if err != nil {
		return 0, fmt.Errorf("create %q: %w", c.key.ID, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, io.Close())
		}
	}()
	c.notePhase("stdio", time.Since(c.since))
	run, err := s.runtime.Create(ctx, runtime.CreateConfig{
		Namespace: c.key.Namespace, ID: c.key.ID, Bundle: c.bundle,
		Rootfs: planMounts(c.mounts), Checkpoint: c.from,
		Stdio:   childEnds(io),
		Options: runtime.Options{NoPivotRoot: opts.NoPivotRoot, NoNewKeyring: opts.NoNewKeyring},
		OnExit:  func(e runtime.Exit) { c.ended(io, news{exit: &e}) },
		Phase:   c.notePhase,
	})
	io.CloseChild()
	if err != nil {
		return 0, err // the runtime names the container
	}
	if err = opts.annotate(run.Spec().Annotations); err == nil {
		io.SetBacklog(opts.Backlog)
		err = io.Start(run.Terminal())
	}
	if err != nil {
		return 0, errors.Join(fmt.Errorf("create %q: %w", c.key.ID, err), undo(run))
	}
	s.remarks.log(s.log, opts.Remarks)
	c.mu.Lock()
	c.run, init.io, c.opts = run, io, opts
	c.state.PrivatePID = privatePID(run.Spec())
	c.mu.Unlock()
	if err = c.step(Event{Verb: DidCreate, Pid: run.Pid()}); err != nil {
		return 0, errors.Join(err, undo(run))
	}
	c.mounts = nil
	return run.Pid(), nil
}

// undo deletes a container that nobody will hear of.
func undo(run *runtime.Container) error {
	ctx, cancel := context.WithTimeout(context.Background(), killTime)
	defer cancel()
	return run.Delete(ctx)
}

// openIO opens the streams of a process.
func (s *Service) openIO(ctx context.Context, c *container, p *process, opts options) (*stdio.IO, error) {
	return s.pump.Open(ctx, stdio.Config{
		Stdin: p.urls.Stdin, Stdout: p.urls.Stdout, Stderr: p.urls.Stderr, Terminal: p.urls.Terminal,
		ContainerID: c.processID(p.id), Namespace: c.key.Namespace,
		UID: opts.UID, GID: opts.GID,
		Backlog: opts.Backlog, OnLoss: c.lossOf(p.id),
		Spawn: s.spawnLogger,
	})
}

func childEnds(io *stdio.IO) runtime.Stdio {
	stdin, stdout, stderr := io.Child()
	return runtime.Stdio{Stdin: stdin, Stdout: stdout, Stderr: stderr}
}

func planMounts(mounts []*types.Mount) []plan.Mount {
	out := make([]plan.Mount, 0, len(mounts))
	for _, m := range mounts {
		out = append(out, plan.Mount{Type: m.Type, Source: m.Source, Target: m.Target, Options: m.Options})
	}
	return out
}

// privatePID reports whether init is pid 1 of a namespace of its own, whose
// other processes the kernel kills with it.
func privatePID(spec *specs.Spec) bool {
	if spec.Linux == nil {
		return false
	}
	for _, ns := range spec.Linux.Namespaces {
		if ns.Type == specs.PIDNamespace {
			return ns.Path == ""
		}
	}
	return false
}
