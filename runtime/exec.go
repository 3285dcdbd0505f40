// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"errors"
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"foundry/runtime/cgroup"
	"foundry/runtime/oci"
	"foundry/runtime/plan"
	"foundry/runtime/spawn"
)

// ExecConfig is a request to run another process in a container.
type ExecConfig struct {
	ID      string // for error texts
	Process *specs.Process
	Stdio   Stdio
	// OnExit is as in [CreateConfig]; it is never called when Exec failed.
	OnExit func(Exit)
}

// Exec runs a process in the container and returns when its program is being
// executed. A paused container is refused with [ErrPaused], one whose init has
// ended with [ErrNotRunning].
func (c *Container) Exec(ctx context.Context, cfg ExecConfig) (*Process, error) {
	p, err := c.exec(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("exec %q in %q: %w", cfg.ID, c.name.id, explain(err))
	}
	p.child.arm(c.rt.deliver(cfg.OnExit, nothingStored))
	return p, nil
}

func nothingStored(spawn.Exit) error { return nil }

func (c *Container) exec(ctx context.Context, cfg ExecConfig) (*Process, error) {
	// This keeps Pause out until the process has passed its steps.
	if err := c.frozen.enter(ctx, false); err != nil {
		return nil, fmt.Errorf("wait for a pause under way: %w", err)
	}
	defer c.frozen.leave()
	if c.init.gone() {
		return nil, fmt.Errorf("init has exited: %w", ErrNotRunning)
	}
	frozen, err := c.group.Frozen()
	if err != nil {
		return nil, err
	}
	if frozen {
		return nil, fmt.Errorf("the container is %w (resume it first)", ErrPaused)
	}
	if err := c.listener.check(); err != nil {
		return nil, err
	}
	if err := oci.ValidateProcess(cfg.Process); err != nil {
		return nil, err
	}
	p, err := plan.NewExec(c.spec, cfg.Process, c.facts)
	if err != nil {
		return nil, err
	}
	if err := c.give(cfg.Stdio, cfg.Process); err != nil {
		return nil, err
	}
	proc, err := c.cloneExec(ctx, p, cfg.Stdio)
	if err != nil {
		return nil, err
	}
	if err := c.rt.untilExec(ctx, proc, c.atExec(ctx, proc, cfg.Process.Terminal)); err != nil {
		return nil, err
	}
	return proc, nil
}

// atExec is what is done where an exec stops.
func (c *Container) atExec(ctx context.Context, p *Process, terminal bool) func(spawn.Point) error {
	return func(point spawn.Point) (err error) {
		if point != spawn.PointReady {
			return c.onListener(ctx, p)(point)
		}
		if terminal {
			p.tty, err = p.proc.TTY()
		}
		return errors.Join(err, p.proc.Go())
	}
}

// cloneExec starts p in the container's group. Under cgroup v2 a group takes no
// process once the container, as an init system does, has given controllers to
// groups below it, or made it threaded: then init is in one of those, and p goes
// there.
func (c *Container) cloneExec(ctx context.Context, p *plan.Plan, stdio Stdio) (*Process, error) {
	proc, err := c.cloneInto(ctx, c.group, p, stdio)
	if !c.rt.host.cgroups.Unified || !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.EOPNOTSUPP) {
		return proc, err
	}
	group, err2 := c.groupOfInit()
	if err2 != nil {
		return nil, errors.Join(err, err2)
	}
	return c.cloneInto(ctx, group, p, stdio)
}

func (c *Container) cloneInto(ctx context.Context, group *cgroup.Group, p *plan.Plan, stdio Stdio) (*Process, error) {
	in, err := enter(group, c.rt.host.cgroups.Unified)
	if err != nil {
		return nil, err
	}
	defer in.close()
	src := sources{stdio: stdio, cgroup1: in.tasks, target: c.init.proc.Pidfd}
	files, opened, err := src.open(p)
	if err != nil {
		return nil, err
	}
	defer closeAll(opened)
	return c.rt.start(ctx, launch{child: c.keys.expect(&c.rt.router), plan: p, files: files, cgroup: in.dir})
}
