// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"foundry/runtime/plan"
	"foundry/runtime/spawn"
)

// Stdio are the child's ends of a process's streams; nil is /dev/null. The
// caller keeps them and closes its copies once Create or Exec has returned.
// A process with a terminal has none.
type Stdio struct {
	Stdin, Stdout, Stderr *os.File
}

// Process is an exec or a helper. It is a child of the spawner: it lives on
// when the Process is closed or the server dies.
type Process struct {
	child *child
	proc  *spawn.Process
	tty   *os.File
}

// Pid is the process id as the server sees it.
func (p *Process) Pid() int { return p.proc.Pid }

// Terminal is the master of the process's pty, or nil.
func (p *Process) Terminal() *os.File { return p.tty }

// Signal sends sig; ErrNotRunning when the process has ended.
func (p *Process) Signal(sig syscall.Signal) error {
	err := p.proc.Signal(sig)
	if errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal process %d: %w", p.proc.Pid, withKind(ErrNotRunning, err))
	}
	if err != nil {
		return fmt.Errorf("signal process %d: %w", p.proc.Pid, err)
	}
	return nil
}

// Close gives back the descriptors of the process. It ends nothing.
func (p *Process) Close() error {
	var errs []error
	if p.tty != nil {
		errs = append(errs, p.tty.Close())
	}
	errs = append(errs, p.proc.Close())
	for i, err := range errs {
		if errors.Is(err, fs.ErrClosed) {
			errs[i] = nil // whoever pumped the terminal has closed it
		}
	}
	return errors.Join(errs...)
}

func (p *Process) gone() bool {
	select {
	case <-p.child.done:
		return true
	default:
		return false
	}
}

// follow follows the process to the sync point last. at is called at those
// before: it does what they are for and lets the process go on.
func (p *Process) follow(ctx context.Context, last spawn.Point, at func(spawn.Point) error) error {
	for {
		point, err := p.proc.Sync(ctx)
		if err != nil {
			return err
		}
		if point == last {
			return nil
		}
		if err := at(point); err != nil {
			return err
		}
	}
}

func (p *Process) unexpected(point spawn.Point) error {
	return fmt.Errorf("follow process %d: unexpected sync point %v", p.Pid(), point)
}

// launch is what it takes to start a process through the spawner.
type launch struct {
	child  *child
	plan   *plan.Plan
	files  []*os.File // as plan.Files
	cgroup *os.File   // v2 directory to be born in
	helper bool
}

// start has the spawner clone l.
func (r *Runtime) start(ctx context.Context, l launch) (*Process, error) {
	client := r.spawner.Load()
	if client == nil {
		r.drop(l.child)
		return nil, ErrSpawner
	}
	proc, err := client.Spawn(ctx, spawn.Request{
		Key: l.child.key, Plan: l.plan, Files: l.files, Cgroup: l.cgroup, Helper: l.helper,
	})
	if err != nil {
		r.drop(l.child)
		return nil, err
	}
	r.cfg.step("cloned")
	return &Process{child: l.child, proc: proc}, nil
}

// drop gives up a child whose launch has failed.
func (r *Runtime) drop(c *child) { r.router.drop(c, r.dismiss) }

// dismiss takes an exit that is nobody's business.
func (r *Runtime) dismiss(e spawn.Exit) {
	if err := r.ack(e); err != nil {
		r.cfg.Log.Warn("acknowledge exit", "key", e.Key, "err", err)
	}
}

// kill ends p and waits until the spawner has told of it.
func (r *Runtime) kill(ctx context.Context, p *Process) error {
	if err := p.Signal(syscall.SIGKILL); err != nil && !errors.Is(err, ErrNotRunning) {
		return err
	}
	return r.wait(ctx, p)
}

// wait returns once the exit of p is known.
func (r *Runtime) wait(ctx context.Context, p *Process) error {
	select {
	case <-p.child.done:
		return nil
	default:
	}
	select {
	case <-p.child.done:
		return nil
	case <-r.spawner.Load().Done():
		return fmt.Errorf("wait for process %d: %w", p.proc.Pid, ErrSpawner)
	case <-ctx.Done():
		return fmt.Errorf("wait for process %d: %w", p.proc.Pid, context.Cause(ctx))
	}
}

// untilExec follows p to the execution of its program, as [Process.follow]
// does. One that does not come there is discarded.
func (r *Runtime) untilExec(ctx context.Context, p *Process, at func(spawn.Point) error) error {
	err := p.follow(ctx, spawn.PointExec, at)
	if err == nil {
		return nil
	}
	undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	return errors.Join(err, r.discard(undo, p))
}

// discard ends a process that nobody was told of.
func (r *Runtime) discard(ctx context.Context, p *Process) error {
	p.child.arm(r.dismiss)
	return errors.Join(r.kill(ctx, p), p.Close())
}

// sources are the descriptors from which a plan's files are taken.
type sources struct {
	stdio   Stdio
	extra   []*os.File // of a helper, after its stdio
	cgroup1 []*os.File
	target  *os.File // pidfd of init
}

// open returns the files of p in their order. Those that it opened itself are
// in opened too, for the caller to close.
func (s sources) open(p *plan.Plan) (files, opened []*os.File, err error) {
	for _, f := range p.Files {
		var file *os.File
		switch f.Kind {
		case plan.FileStdin:
			file = s.stdio.Stdin
		case plan.FileStdout:
			file = s.stdio.Stdout
		case plan.FileStderr:
			file = s.stdio.Stderr
		case plan.FileExtra:
			file = s.extra[f.N]
		case plan.FileTarget:
			file = s.target
		case plan.FileCgroup1:
			if f.N < 0 || f.N >= len(s.cgroup1) {
				err = fmt.Errorf("open cgroup hierarchy %d: there are %d", f.N, len(s.cgroup1))
				break
			}
			file = s.cgroup1[f.N]
		case plan.FileNamespace:
			if file, err = openNamespace(f.Path, f.NSType); err == nil {
				opened = append(opened, file)
			}
		default:
			err = fmt.Errorf("open file of the plan: kind %d is not known", f.Kind)
		}
		if err != nil {
			closeAll(opened)
			return nil, nil, err
		}
		files = append(files, file)
	}
	return files, opened, nil
}

// openNamespace opens a namespace file and makes sure that it is one of type
// nstype, so that a wrong path is refused here, by name, and not by the stage.
func openNamespace(path string, nstype uint64) (*os.File, error) {
	f, err := os.OpenFile(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, withKind(ErrInvalid, fmt.Errorf("open namespace: %w", err))
	}
	got, err := unix.IoctlRetInt(int(f.Fd()), unix.NS_GET_NSTYPE)
	if err != nil || uint64(got) != nstype {
		f.Close()
		return nil, withKind(ErrInvalid, fmt.Errorf("open namespace %s: not a namespace of type %#x", path, nstype))
	}
	return f, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		if f != nil {
			f.Close()
		}
	}
}
