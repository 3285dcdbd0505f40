// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"foundry/runtime/cgroup"
	"foundry/runtime/journal"
	"foundry/runtime/plan"
	"foundry/runtime/spawn"
)

// Container is one container between a successful Create and its Delete. Its
// caller calls Start once, Exec, Kill, Pause, Update, Stats and the like in any
// order, and Delete at the end: after a failed Start too. The methods may be
// called from several goroutines. Those that only look (Pid, Spec, Stats, Pids,
// OOMKills) never wait for those that do; the results of the last three stay
// readable after init's exit, until Delete.
type Container struct {
	rt      *Runtime
	name    name
	bundle  string
	spec    *specs.Spec // trimmed after Create
	facts   plan.Facts
	keys    *keys
	journal *journal.Journal
	group   *cgroup.Group
	init    *Process
	// lateDevices: the group gets its device rules when the mounts are made.
	lateDevices bool

	watch    stopwatch
	restored bool        // by criu: its processes are stopped until Start
	started  atomic.Bool // Start was called
	running  atomic.Bool // init executes its program
	hooked   atomic.Bool // createRuntime hooks were begun

	// stops are the kinds of hooks for which init will stop yet; it belongs to
	// whoever creates or starts the container, who are not there at once.
	stops    []uint64
	listener listener

	// frozen is where processes pass on their way into the cgroup, and Pause
	// alone: one that enters a frozen cgroup would hang before its first step is
	// done.
	frozen gate

	mu      sync.Mutex // guards the two below, held by Delete
	undo    undoStack
	deleted bool
}

// Pid is the process id of init as the server sees it.
func (c *Container) Pid() int { return c.init.Pid() }

// Terminal is the master of init's pty, nil without one. It is closed by Delete.
func (c *Container) Terminal() *os.File { return c.init.tty }

// Spec is the parsed config.json without what only Create needs: mounts,
// devices, resources, masked and read-only paths, seccomp. It is not to be changed.
func (c *Container) Spec() *specs.Spec { return c.spec }

// Start lets init execute its program and returns when it has, after the
// poststart hooks. When it cannot, or such a hook fails, init ends and its
// exit is delivered as always.
func (c *Container) Start(ctx context.Context) error {
	if err := c.start(ctx); err != nil {
		return fmt.Errorf("start %q: %w", c.name.id, explain(c.starved(err)))
	}
	return nil
}

func (c *Container) start(ctx context.Context) error {
	if c.init.gone() {
		return fmt.Errorf("init has exited: %w", ErrNotRunning)
	}
	if !c.started.CompareAndSwap(false, true) {
		return fmt.Errorf("started before: %w", ErrState)
	}
	c.watch.begin()
	if c.restored {
		return c.startRestored(ctx)
	}
	if err := c.init.proc.Go(); err != nil {
		return err
	}
	if err := c.untilExec(ctx); err != nil {
		return err
	}
	c.running.Store(true)
	c.watch.lap(PhaseExec)
	c.rt.cfg.step("started")
	if err := c.poststart(ctx); err != nil {
		return errors.Join(err, c.killAll(ctx))
	}
	if c.spec.Hooks != nil && len(c.spec.Hooks.Poststart) > 0 {
		c.watch.lap(PhasePoststart)
	}
	return nil
}

// untilExec follows init from Start to the execution of its program. When the
// server cannot do its part, init is killed: it would wait for ever.
func (c *Container) untilExec(ctx context.Context) error {
	var ours error
	err := c.init.follow(ctx, spawn.PointExec, func(point spawn.Point) error {
		switch point {
		case spawn.PointHooks:
			ours = c.nextHooks(ctx)
		default:
			ours = c.onListener(ctx, c.init)(point)
		}
		return ours
	})
	if ours != nil {
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
		defer cancel()
		err = errors.Join(err, c.killAll(undo))
	}
	return err
}

// onExit turns init's exit into an Exit for deliver; nil acknowledges it.
func (c *Container) onExit(deliver func(Exit)) func(spawn.Exit) {
	return c.rt.deliver(deliver, func(e spawn.Exit) error {
		err := c.journal.Append(journal.Entry{Kind: journal.Exited, Pid: e.Pid, Status: e.Status, Signal: e.Signal, At: e.At})
		if errors.Is(err, os.ErrClosed) {
			return nil // deleted: nobody will ask
		}
		return err
	})
}

// deliver makes the function that hands a spawner's exit to its owner. stored
// keeps what the spawner forgets with the acknowledgement.
func (r *Runtime) deliver(owner func(Exit), stored func(spawn.Exit) error) func(spawn.Exit) {
	return func(e spawn.Exit) {
		exit := Exit{Status: e.Status, Signal: e.Signal, At: e.At, Pid: e.Pid}
		exit.ack = func() error {
			if err := stored(e); err != nil {
				return err
			}
			return r.ack(e)
		}
		if owner != nil {
			owner(exit)
			return
		}
		if err := exit.Ack(); err != nil {
			r.cfg.Log.Warn("exit", "err", err)
		}
	}
}

// Kill sends sig to init; ErrNotRunning when it has ended.
func (c *Container) Kill(ctx context.Context, sig syscall.Signal) error {
	if c.init.gone() {
		return fmt.Errorf("kill %q: %w", c.name.id, ErrNotRunning)
	}
	if err := c.init.Signal(sig); err != nil {
		return fmt.Errorf("kill %q: %w", c.name.id, err)
	}
	if sig == syscall.SIGKILL {
		return c.thawToDie()
	}
	return nil
}

// thawToDie lets a paused container take its SIGKILL: the v1 freezer holds
// even that back.
func (c *Container) thawToDie() error {
	if c.rt.host.cgroups.Unified {
		return nil
	}
	frozen, err := c.group.Frozen()
	if err != nil || !frozen {
		return err
	}
	if err := c.group.Thaw(); err != nil {
		return fmt.Errorf("kill %q: %w", c.name.id, err)
	}
	return nil
}

// KillAll sends sig to every process in the container's cgroup. SIGKILL
// returns when none is left.
func (c *Container) KillAll(ctx context.Context, sig syscall.Signal) error {
	err := c.signalStray(sig)
	if sig == syscall.SIGKILL {
		err = errors.Join(err, c.group.Kill(ctx))
	} else {
		err = errors.Join(err, signalAll(c.group, sig))
	}
	if err != nil {
		return fmt.Errorf("kill all of %q: %w", c.name.id, err)
	}
	return nil
}

// signalStray signals init where the group would not: a container that may
// write to the host's cgroups can leave its own.
func (c *Container) signalStray(sig syscall.Signal) error {
	pids, err := c.group.Pids()
	if err != nil || slices.Contains(pids, c.init.Pid()) {
		return err
	}
	if err := c.init.Signal(sig); err != nil && !errors.Is(err, ErrNotRunning) {
		return err
	}
	return nil
}

// signalAll signals the processes of a group by pidfds. The group is read a
// second time after they were opened: a pid that is still in it then is, or
// was, the process of its pidfd.
func signalAll(g *cgroup.Group, sig syscall.Signal) error {
	pids, err := g.Pids()
	if err != nil {
		return err
	}
	fds := make(map[int]int, len(pids))
	defer func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}()
	for _, pid := range pids {
		fd, err := unix.PidfdOpen(pid, 0)
		if err == unix.ESRCH {
			continue
		}
		if err != nil {
			return fmt.Errorf("pidfd_open %d: %w", pid, err)
		}
		fds[pid] = fd
	}
	if pids, err = g.Pids(); err != nil {
		return err
	}
	var errs []error
	for _, pid := range pids {
		fd, ok := fds[pid]
		if !ok {
			continue
		}
		if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil && err != unix.ESRCH {
			errs = append(errs, fmt.Errorf("signal process %d: %w", pid, err))
		}
	}
	return errors.Join(errs...)
}

// killAll ends init and whatever else is in the cgroup, and waits for it.
func (c *Container) killAll(ctx context.Context) error {
	var errs []error
	if c.init != nil && !c.init.gone() {
		// The stage may not have entered the cgroup yet.
		if err := c.init.Signal(syscall.SIGKILL); err != nil && !errors.Is(err, ErrNotRunning) {
			errs = append(errs, err)
		}
	}
	errs = append(errs, c.group.Kill(ctx))
	if c.init != nil {
		errs = append(errs, c.rt.wait(ctx, c.init))
	}
	return errors.Join(errs...)
}

// Delete ends what is left of the container and undoes Create. It may be
// called again: after an error to try again what failed, else for nothing.
func (c *Container) Delete(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.deleted {
		return nil
	}
	if err := c.undo.unwind(ctx); err != nil {
		return fmt.Errorf("delete %q: %w", c.name.id, err)
	}
	c.deleted = true
	c.close()
	c.rt.release(c)
	return nil
}

// close gives back descriptors.
func (c *Container) close() {
	if c.init != nil {
		c.init.Close()
	}
	if c.journal != nil {
		c.journal.Close()
	}
}
