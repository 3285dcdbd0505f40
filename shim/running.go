// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"syscall"

	task "github.com/containerd/containerd/api/runtime/task/v2"
	runc "github.com/containerd/containerd/api/types/runc/options"
	tasktypes "github.com/containerd/containerd/api/types/task"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"foundry/runtime"
)

// parseProcess reads what an exec is to run.
func parseProcess(r *task.ExecProcessRequest) (*specs.Process, error) {
	if r.ExecID == "" {
		return nil, badRequest("no exec id")
	}
	var p specs.Process
	if err := json.Unmarshal(r.Spec.GetValue(), &p); err != nil {
		return nil, badRequest("exec %q: process: %v", r.ExecID, err)
	}
	p.Terminal = r.Terminal
	return &p, nil
}

// wait blocks until a process has ended, however long that takes.
func (c *container) wait(ctx context.Context, exec string) (Proc, error) {
	_, live, err := c.look(exec)
	if err != nil {
		return Proc{}, err
	}
	select {
	case <-live.done:
		return live.last, nil
	case <-ctx.Done():
		return Proc{}, ctx.Err()
	}
}

func (c *container) kill(ctx context.Context, exec string, sig syscall.Signal, all bool) error {
	if err := c.step(Event{Verb: Kill, Exec: exec}); err != nil {
		return err
	}
	_, live, err := c.look(exec)
	if err != nil {
		return err
	}
	c.noteSignal(exec, sig, all)
	switch {
	case exec == "" && all:
		err = c.run.KillAll(ctx, sig)
	case exec == "":
		err = c.run.Kill(ctx, sig)
	default:
		err = c.signal(live, sig)
	}
	if errors.Is(err, runtime.ErrNotRunning) {
		return errFinished
	}
	return err
}

// signal signals an exec.
func (c *container) signal(p *process, sig syscall.Signal) error {
	c.mu.Lock()
	proc := p.proc
	c.mu.Unlock()
	if proc == nil {
		return fmt.Errorf("kill exec %q: %w", p.id, errNotReady)
	}
	return proc.Signal(sig)
}

func (c *container) pause(ctx context.Context) error {
	if err := c.step(Event{Verb: Pause}); err != nil {
		return err
	}
	if err := c.run.Pause(ctx); err != nil {
		_ = c.step(Event{Verb: NoPause, Err: err})
		return err
	}
	return c.step(Event{Verb: DidPause})
}

func (c *container) resume(ctx context.Context) error {
	if err := c.step(Event{Verb: Resume}); err != nil {
		return err
	}
	if err := c.run.Resume(ctx); err != nil {
		_ = c.step(Event{Verb: NoResume, Err: err})
		return err
	}
	return c.step(Event{Verb: DidResume})
}

func (c *container) update(ctx context.Context, r *specs.LinuxResources) error {
	if err := c.step(Event{Verb: Update}); err != nil {
		return err
	}
	return c.run.Update(ctx, r)
}

func (c *container) stats() (*anypb.Any, error) {
	stats, err := c.run.Stats()
	if err != nil {
		return nil, err
	}
	m, ok := stats.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("encode stats of %q: %T is no protobuf message", c.key.ID, stats)
	}
	return bare(m)
}

// bare packs a message as containerd's typeurl does: its name without a host.
func bare(m proto.Message) (*anypb.Any, error) {
	value, err := proto.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", m.ProtoReflect().Descriptor().FullName(), err)
	}
	return &anypb.Any{TypeUrl: string(m.ProtoReflect().Descriptor().FullName()), Value: value}, nil
}

// processes lists the container's processes. When the cgroup does not answer
// in time, or has none left, it is those that we know of: containerd takes an
// empty list at its restart for a leaked container.
func (c *container) processes(ctx context.Context, s *Service) []*tasktypes.ProcessInfo {
	pids, err := bounded(ctx, call[[]int]{
		name: "read cgroup.procs", bound: bound{limit: pidsTime}, log: c.log,
		run: func(context.Context) ([]int, error) { return c.run.Pids() },
	})
	if err != nil {
		c.log.Warn("list processes", "err", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	execs := make(map[int]string, len(c.state.Execs))
	for id, p := range c.state.Execs {
		if p.Phase == Running {
			execs[p.Pid] = id
		}
	}
	if len(pids) == 0 {
		pids = append(pids, c.state.Init.Pid)
		for pid := range execs {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	list := make([]*tasktypes.ProcessInfo, 0, len(pids))
	for _, pid := range pids {
		info := &tasktypes.ProcessInfo{Pid: uint32(pid)}
		if id, ok := execs[pid]; ok {
			info.Info, _ = bare(&runc.ProcessDetails{ExecID: id})
		}
		list = append(list, info)
	}
	return list
}

// statuses are the phases as containerd knows them.
var statuses = [phaseCount]tasktypes.Status{
	Created:  tasktypes.Status_CREATED,
	Starting: tasktypes.Status_CREATED,
	Running:  tasktypes.Status_RUNNING,
	Pausing:  tasktypes.Status_PAUSING,
	Paused:   tasktypes.Status_PAUSED,
	Resuming: tasktypes.Status_PAUSED,
	Ending:   tasktypes.Status_RUNNING,
	Stopped:  tasktypes.Status_STOPPED,
	Deleting: tasktypes.Status_STOPPED,
}

// status is that of a process; all of a paused container are paused.
func (c *container) status(p Proc) tasktypes.Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	if init := c.state.Init.Phase; p.Phase == Running && (init == Pausing || init == Paused || init == Resuming) {
		return statuses[init]
	}
	return statuses[p.Phase]
}
