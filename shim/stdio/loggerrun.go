// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// loggerRun is one process of a logger.
type loggerRun struct {
	proc  LoggerProcess
	began time.Time
	seen  bool // its end has been dealt with; guarded by logger.mu

	once sync.Once
	done chan struct{} // closed when it has ended
}

func (r *loggerRun) hasExited() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// within waits for the end, at most for d.
func (r *loggerRun) within(d time.Duration) bool {
	t := time.NewTimer(max(d, 0))
	defer t.Stop()
	select {
	case <-r.done:
		return true
	case <-t.C:
		return r.hasExited()
	}
}

// stop waits for grace, says SIGTERM, and SIGKILL after limit.
func (r *loggerRun) stop(grace, limit time.Duration) error {
	defer r.proc.Close()
	deadline := time.Now().Add(limit)
	if r.within(grace) {
		return nil
	}
	err := r.signal(syscall.SIGTERM)
	if r.within(time.Until(deadline)) {
		return err
	}
	return errors.Join(err, r.kill())
}

// kill ends it at once.
func (r *loggerRun) kill() error {
	defer r.proc.Close()
	err := r.proc.Kill()
	if !r.within(time.Second) {
		err = errors.Join(err, errors.New("still there a second after SIGKILL"))
	}
	return err
}

func (r *loggerRun) signal(sig syscall.Signal) error {
	if err := r.proc.Signal(sig); err != nil && !r.within(time.Second) {
		return fmt.Errorf("send signal %d: %w", sig, err)
	}
	return nil // it works, or the process has ended just before
}

// spawn starts the program as run and waits until it is ready.
func (l *logger) spawn(ctx context.Context, run *loggerRun) error {
	ready, w, err := readyPipe()
	if err != nil {
		return err
	}
	defer ready.Close()
	spec := Logger{
		Path: l.t.path,
		Args: l.t.args,
		Env:  []string{"CONTAINER_ID=" + l.cfg.ContainerID, "CONTAINER_NAMESPACE=" + l.cfg.Namespace},
		OnExit: func() {
			run.once.Do(func() { close(run.done) })
			go l.exited(run) // looks into pipes, whose locks others may hold
		},
	}
	spec.Files[2] = w
	defer func() {
		for _, f := range spec.Files {
			f.Close() // nil is an error that nobody needs
		}
	}()
	for i, p := range l.ends() {
		defer p.unref()
		if spec.Files[i], err = p.dup(); err != nil {
			return err
		}
	}
	if run.proc, err = l.cfg.Spawn(ctx, spec); err != nil {
		return err
	}
	w.Close() // its end must be the program's alone
	if err := l.awaitReady(ctx, ready); err != nil {
		return errors.Join(err, run.kill())
	}
	return nil
}

// awaitReady reads descriptor 5's other end.
func (l *logger) awaitReady(ctx context.Context, ready *os.File) error {
	defer context.AfterFunc(ctx, func() { ready.SetReadDeadline(time.Unix(1, 0)) })()
	var b [1]byte
	n, err := ready.Read(b[:])
	switch {
	case n == 1, err == io.EOF && l.t.kind == kindBinary:
		return nil
	case err == io.EOF:
		return errors.New("ended, or closed descriptor 5, without the byte that says ready")
	case ctx.Err() != nil:
		return fmt.Errorf("wait until it is ready: %w", context.Cause(ctx))
	}
	return fmt.Errorf("wait until it is ready: %w", err)
}

// readyPipe makes the pipe: our end in Go's poller, the program's end blocking.
func readyPipe() (r, w *os.File, err error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, fmt.Errorf("make ready pipe: %w", err)
	}
	if err := unix.SetNonblock(p[0], true); err != nil {
		unix.Close(p[0])
		unix.Close(p[1])
		return nil, nil, fmt.Errorf("make ready pipe: %w", err)
	}
	return os.NewFile(uintptr(p[0]), "ready pipe"), os.NewFile(uintptr(p[1]), "ready pipe"), nil
}
