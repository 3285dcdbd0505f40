// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"foundry/runtime"
	"foundry/shim/stdio"
)

// start lets init run its program.
func (c *container) start(ctx context.Context) (int, error) {
	if err := c.step(Event{Verb: Start}); err != nil {
		return 0, fmt.Errorf("start %q: %w", c.key.ID, err)
	}
	if err := c.run.Start(ctx); err != nil {
		_ = c.step(Event{Verb: NoStart, Err: err})
		return 0, err
	}
	pid := c.run.Pid()
	return pid, c.step(Event{Verb: DidStart, Pid: pid})
}

// add takes the id of an exec; its process is made by startExec.
func (c *container) add(exec string, spec *specs.Process, urls streams) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.state.Execs) >= maxExecs {
		return fmt.Errorf("exec %q in %q: %w: %d execs (delete some)", exec, c.key.ID, errQuota, maxExecs)
	}
	next, effects, err := Step(c.state, Event{Verb: Add, Exec: exec})
	if err != nil {
		return fmt.Errorf("exec %q in %q: %w", exec, c.key.ID, err)
	}
	c.state = next
	c.noteLocked(Event{Verb: Add, Exec: exec})
	c.procs[exec] = &process{id: exec, urls: urls, spec: spec, done: make(chan struct{})}
	for _, e := range effects {
		c.doLocked(e)
	}
	return nil
}

// startExec makes the process of an exec and has it run.
func (c *container) startExec(ctx context.Context, s *Service, exec string) (int, error) {
	if err := c.step(Event{Verb: Start, Exec: exec}); err != nil {
		return 0, fmt.Errorf("start exec %q in %q: %w", exec, c.key.ID, err)
	}
	_, p, err := c.look(exec)
	if err != nil {
		return 0, err
	}
	proc, io, err := c.launch(ctx, s, p)
	if err != nil {
		_ = c.step(Event{Verb: NoStart, Exec: exec, Err: err})
		return 0, err
	}
	c.mu.Lock()
	p.proc, p.io, p.spec = proc, io, nil
	early := p.early
	c.mu.Unlock()
	early.apply(io)
	if c.opts.ExecOrphan > 0 {
		go c.endOrphan(p, io)
	}
	return proc.Pid(), c.step(Event{Verb: DidStart, Exec: exec, Pid: proc.Pid()})
}

func (c *container) launch(ctx context.Context, s *Service, p *process) (*runtime.Process, *stdio.IO, error) {
	c.mu.Lock()
	opts := c.opts
	c.mu.Unlock()
	opts.UID, opts.GID = 0, 0 // they are init's
	io, err := s.openIO(ctx, c, p, opts)
	if err != nil {
		return nil, nil, fmt.Errorf("exec %q in %q: %w", p.id, c.key.ID, err)
	}
	proc, err := c.run.Exec(ctx, runtime.ExecConfig{
		ID: p.id, Process: p.spec, Stdio: childEnds(io),
		OnExit: func(e runtime.Exit) { c.ended(io, news{exec: p.id, exit: &e}) },
	})
	io.CloseChild()
	if err != nil {
		return nil, nil, errors.Join(err, io.Close())
	}
	if err := io.Start(proc.Terminal()); err != nil {
		// It runs, but nobody would see what it writes. Its exit finds the
		// exec over already.
		return nil, nil, errors.Join(fmt.Errorf("exec %q in %q: %w", p.id, c.key.ID, err),
			proc.Signal(syscall.SIGKILL), proc.Close(), io.Close())
	}
	return proc, io, nil
}

// apply does what was asked for before there were streams.
func (e earlyIO) apply(io *stdio.IO) {
	if e.width != 0 || e.height != 0 {
		_ = io.Resize(e.width, e.height) // the next resize tells
	}
	if e.closeStdin {
		_ = io.CloseStdin()
	}
}
