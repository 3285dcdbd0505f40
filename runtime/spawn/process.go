// SPDX-License-Identifier: Apache-2.0

package spawn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"foundry/runtime/plan"

	"golang.org/x/sys/unix"
)

// Point is a place at which a process shows itself.
type Point int

// Points.
const (
	PointHooks    Point = iota + 1 // waits for Go; the server runs hooks meanwhile
	PointReady                     // created; waits for Go
	PointExec                      // executes its program
	PointListener                  // waits for Go, without a system call, once its filter is installed: see Listener
)

func (p Point) String() string {
	switch p {
	case PointHooks:
		return "hooks"
	case PointReady:
		return "ready"
	case PointExec:
		return "exec"
	case PointListener:
		return "listener"
	}
	return fmt.Sprintf("point-%d", int(p))
}

// StageError says which step of a plan failed.
type StageError struct {
	Step  int
	Op    plan.Op
	Errno syscall.Errno // ECANCELED: the stage was killed
	What  string        // such as "mount proc on /proc"
}

func (e *StageError) Error() string { return e.What + ": " + e.Errno.Error() }
func (e *StageError) Unwrap() error { return e.Errno }

// Process is a child of the spawner. Closing it, or the end of the server,
// ends nothing.
type Process struct {
	Pid   int
	Pidfd *os.File
	Key   uint64
	Slot  uint32

	plan   *plan.Plan // until its program runs
	status *os.File   // 'H', 'N', 'R', and its end is the execve

	mu     sync.Mutex // guards what follows
	page   *slot      // the spawner's again once the exit is acknowledged: nil after it
	last   outcome    // as the page said at the exit
	passed uint32     // sync points seen
}

// outcome is what a slot page tells about a stage.
type outcome struct {
	step  int
	errno syscall.Errno
	what  string
}

func outcomeOf(s *slot) outcome {
	o := outcome{errno: syscall.Errno(atomic.LoadInt32(&s.Err)), step: int(atomic.LoadUint32(&s.Step))}
	if o.errno != 0 {
		o.what = text(s.What[:])
	}
	return o
}

// born is called by the reader, before it hears of anything later.
func (p *Process) born(t *slotTable, r reply) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.Pid, p.Slot = int(r.m.Pid), r.m.Slot
	p.page = t.page(r.m.Slot)
	if len(r.files) > 0 {
		p.Pidfd = r.files[0]
	}
}

func (p *Process) ended(page *slot) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if page != nil {
		p.last = outcomeOf(page)
	}
	p.page = nil
}

// Sync waits until the process shows itself again. A step of the plan that
// failed is a *StageError.
func (p *Process) Sync(ctx context.Context) (Point, error) {
	if p.status == nil { // adopted
		return PointExec, nil
	}
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(interrupted)
		_ = p.status.SetReadDeadline(time.Unix(1, 0))
	})
	var b [1]byte
	n, err := p.status.Read(b[:])
	if !stop() {
		<-interrupted // or the deadline would be set after it is cleared, and end the next Sync
		_ = p.status.SetReadDeadline(time.Time{})
	}
	switch {
	case n == 1:
		return p.arrived(b[0])
	case errors.Is(err, io.EOF), errors.Is(err, os.ErrClosed) && p.executed():
		return p.finished()
	case errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() != nil:
		err = context.Cause(ctx)
	}
	return 0, fmt.Errorf("follow process %d: %w", p.Pid, err)
}

func (p *Process) arrived(b byte) (Point, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.passed++
	switch b {
	case 'H':
		return PointHooks, nil
	case 'R':
		return PointReady, nil
	case 'N':
		return PointListener, nil
	}
	return 0, fmt.Errorf("follow process %d: unknown sync point %q", p.Pid, b)
}

func (p *Process) executed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.plan == nil
}

// finished tells, after the status pipe has closed, an execve from an end.
func (p *Process) finished() (Point, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.plan == nil { // once more
		return PointExec, nil
	}
	o := p.last
	if p.page != nil {
		o = outcomeOf(p.page)
	}
	if o.errno == 0 && o.step == len(p.plan.Steps)-1 {
		p.plan = nil // it can be large, and the process live long
		_ = p.status.Close()
		return PointExec, nil
	}
	if o.errno == 0 {
		o.errno, o.what = syscall.ECANCELED, "process was killed before its program ran"
	}
	return 0, p.stageError(o)
}

// stageError adds to what the stage said the paths that it never saw.
func (p *Process) stageError(o outcome) *StageError {
	e := &StageError{Step: o.step, Errno: o.errno, What: o.what}
	if o.step < len(p.plan.Steps) {
		s := &p.plan.Steps[o.step]
		e.Op = s.Op
		if s.FD >= 0 && s.FD < len(p.plan.Files) && s.Flags&plan.FlagSource == 0 && p.plan.Files[s.FD].Path != "" {
			e.What += " " + p.plan.Files[s.FD].Path
		}
	}
	return e
}

// Go lets the process past the sync point that Sync returned last.
func (p *Process) Go() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.page == nil {
		return fmt.Errorf("let process %d go on: %w", p.Pid, os.ErrProcessDone)
	}
	p.page.letGo(p.passed)
	return nil
}

// TTY returns the master of the process's pty. It can be had at PointReady of
// a plan with [plan.OpTTY].
func (p *Process) TTY() (*os.File, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.page == nil {
		return nil, fmt.Errorf("take terminal of process %d: %w", p.Pid, os.ErrProcessDone)
	}
	number := atomic.LoadInt32(&p.page.Tty)
	if number < 0 {
		return nil, fmt.Errorf("take terminal of process %d: it has none to give now", p.Pid)
	}
	f, err := p.take(int(number), "ptmx")
	if err != nil {
		return nil, fmt.Errorf("take terminal of process %d: %w", p.Pid, err)
	}
	return f, nil
}

// take returns a copy of the process's descriptor of that number.
func (p *Process) take(number int, name string) (*os.File, error) {
	var fd int
	err := p.control(func(pidfd int) (err error) {
		fd, err = unix.PidfdGetfd(pidfd, number, 0)
		return err
	})
	if err != nil {
		return nil, os.NewSyscallError("pidfd_getfd", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// Signal sends sig; [os.ErrProcessDone] when the process has ended.
func (p *Process) Signal(sig syscall.Signal) error {
	err := p.control(func(pidfd int) error { return unix.PidfdSendSignal(pidfd, sig, nil, 0) })
	if errors.Is(err, unix.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}

// KillGroup kills all that is in the process group that the process leads. A
// kernel before Linux 6.9 kills nobody: [errors.ErrUnsupported].
func (p *Process) KillGroup() error {
	err := p.control(func(pidfd int) error {
		return unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, unix.PIDFD_SIGNAL_PROCESS_GROUP)
	})
	switch {
	case errors.Is(err, unix.EINVAL):
		return errors.ErrUnsupported
	case errors.Is(err, unix.ESRCH): // it leads no group before the stage has made its session
		return p.Signal(unix.SIGKILL)
	}
	return err
}

func (p *Process) control(f func(pidfd int) error) error {
	raw, err := p.Pidfd.SyscallConn()
	if err != nil {
		return err
	}
	var ferr error
	if err := raw.Control(func(fd uintptr) { ferr = f(int(fd)) }); err != nil {
		return err
	}
	return ferr
}

// Close gives back the server's descriptors. The process lives on, unless it
// has a sync point to come: nobody would let it past that.
func (p *Process) Close() error {
	err := p.status.Close()
	if errors.Is(err, os.ErrClosed) || p.status == nil { // by Sync, at PointExec; or it was adopted
		err = nil
	}
	return errors.Join(err, p.Pidfd.Close())
}
