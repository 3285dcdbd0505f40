// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Logger is a log program to be started for Config.Spawn.
//
//	descriptor 3   read end of the process's stdout
//	descriptor 4   read end of its stderr (at its end, with a terminal)
//	descriptor 5   write end of a pipe: closed (binary) or written to
//	               (binary-v2) when the program is ready
type Logger struct {
	Path  string
	Args  []string    // after the name of the program
	Env   []string    // all of it
	Files [3]*os.File // descriptors 3, 4, 5; still ours, closed when Spawn has returned
	// OnExit must be called when the program has ended, from any goroutine,
	// even before Spawn has returned. It does not block.
	OnExit func()
}

// LoggerProcess is a log program that runs.
type LoggerProcess interface {
	Signal(syscall.Signal) error
	Kill() error  // and whatever it has started; also when it has ended itself
	Close() error // gives back the caller's descriptors; ends nothing
}

// logger keeps a log program running while there is something to log. We
// hold the read ends too: a program that dies breaks no writer, and its
// successor goes on where it stopped.
type logger struct {
	pump *Pump
	io   *IO
	cfg  *Config
	t    target

	pipesMu sync.Mutex // guards what follows
	pipes   [2]*file   // what it reads: stdout, stderr
	ended   bool       // there are to be no more

	starting sync.Mutex // held during start

	mu      sync.Mutex // guards what follows
	run     *loggerRun // the last one
	stopped bool
	last    bool // the writers are gone, and one more was started for the rest
	delay   time.Duration
	timer   *time.Timer        // starts the next one
	waiting bool               // until then
	cancel  context.CancelFunc // of the start under way
}

// openLogger starts the log program of t. Without a terminal the process
// writes straight into its pipes and the pump only watches for their end.
func (io *IO) openLogger(ctx context.Context, t target) error {
	if io.cfg.Spawn == nil {
		return fmt.Errorf("log program %s: nobody to start it", t.path)
	}
	l := &logger{pump: io.pump, io: io, cfg: &io.cfg, t: t}
	io.logger = l
	for i, tag := range []uint64{HoldStdout, HoldStderr} {
		if err := io.addLogged(tag, &l.pipes[i]); err != nil {
			return err
		}
	}
	return l.start(ctx)
}

// addLogged makes the pipe of one output, and a stream if it has one.
func (io *IO) addLogged(tag uint64, pipe **file) error {
	r, w, err := io.cfg.makePipe(outputName(tag), false)
	if err != nil {
		return err
	}
	*pipe = r
	// The program gets this very end, and expects to sleep in read.
	if err := unix.SetNonblock(r.fd, false); err != nil {
		w.Close()
		return err
	}
	if !io.cfg.Terminal {
		io.child[tag-1] = w
		io.outputs = append(io.outputs, io.add(&stream{tag: tag, mode: watched, src: r.ref()}))
		return nil
	}
	defer w.Close()
	if tag == HoldStderr {
		return nil // a terminal has none: at its end from the start
	}
	dst, err := pumpEnd(w)
	if err != nil {
		return err
	}
	io.outputs = append(io.outputs, io.add(&stream{tag: tag, mode: copied, dst: dst, logger: io.logger}))
	return nil
}

// pumpEnd is the write end w of a log program's pipe, for the pump: a
// descriptor of our own that does not block.
func pumpEnd(w *os.File) (*file, error) {
	fd, err := dupOf(w)
	if err != nil {
		return nil, err
	}
	f := newFile(fd, "pipe to log program")
	f.pipe = true
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", f.path, err), f.unref())
	}
	return f, nil
}

// start starts the program and waits until it is ready.
func (l *logger) start(ctx context.Context) error {
	l.starting.Lock()
	defer l.starting.Unlock()
	ctx, cancel := context.WithTimeout(ctx, l.pump.cfg.LoggerReady)
	defer cancel()
	l.mu.Lock()
	l.cancel = cancel
	stopped := l.stopped
	l.mu.Unlock()
	if stopped {
		return fmt.Errorf("log program %s: %w", l.t.path, os.ErrClosed)
	}
	run := &loggerRun{began: time.Now(), done: make(chan struct{})}
	if err := l.spawn(ctx, run); err != nil {
		return fmt.Errorf("log program %s: %w", l.t.path, err)
	}
	l.mu.Lock()
	l.run = run
	stopped = l.stopped
	l.mu.Unlock()
	if stopped {
		run.kill()
		return fmt.Errorf("log program %s: %w", l.t.path, os.ErrClosed)
	}
	if run.hasExited() {
		l.exited(run) // before it was l.run, so nobody has looked at it
	}
	return nil
}

// exited has the program started again while there is something to log.
func (l *logger) exited(run *loggerRun) {
	l.mu.Lock()
	if l.run != run || run.seen {
		l.mu.Unlock()
		return
	}
	run.seen = true
	died := !l.stopped && !l.hungUp()
	l.mu.Unlock()
	if died { // what it has left would read what is for its successor
		_ = run.proc.Kill()
		_ = l.detour() // or the process waits for the successor
	}
	run.proc.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(run.began) > 50*l.pump.cfg.Retry {
		l.delay = 0 // it had worked
	}
	l.startLaterLocked()
}

// startLaterLocked starts the program after a pause, if there is a reason to:
// once the writers are gone, one program more gets what is left.
func (l *logger) startLaterLocked() {
	if l.stopped || l.last {
		return
	}
	if l.hungUp() {
		if l.unread() == 0 {
			return
		}
		l.last = true
	}
	base := l.pump.cfg.Retry
	l.delay = min(max(2*l.delay, base), 50*base)
	l.waiting = true
	l.timer = time.AfterFunc(l.delay, l.restart)
}

func (l *logger) restart() {
	err := l.start(context.Background())
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = false
	if err != nil {
		l.startLaterLocked()
	}
}

// stop ends the program. It gets the time to read what is in its pipes, some
// more to end by itself, then SIGTERM, at last SIGKILL.
func (l *logger) stop() error {
	limit := l.pump.cfg.LoggerStop
	deadline := time.Now().Add(limit)
	part := limit / 24
	if l.hungUp() {
		l.awaitRead(limit - 4*part)
	} else {
		l.awaitRead(part) // a grandchild holds the pipes: they have no end
	}
	l.mu.Lock()
	l.stopped = true
	if l.timer != nil {
		l.timer.Stop()
	}
	if l.cancel != nil {
		l.cancel()
	}
	l.mu.Unlock()
	l.starting.Lock() // a start that was under way has been given up
	defer l.starting.Unlock()
	run := l.run
	var err error
	if run != nil {
		if !l.hungUp() {
			part = 0
		}
		err = run.stop(part, time.Until(deadline))
	}
	for _, tag := range []uint64{HoldStdout, HoldStderr} {
		l.replace(tag, nil)
	}
	if err != nil {
		return fmt.Errorf("log program %s: %w", l.t.path, err)
	}
	return nil
}

// awaitRead waits until the program has read everything, at most for limit.
// A pipe does not tell when it has been emptied, so this looks again and again.
func (l *logger) awaitRead(limit time.Duration) {
	deadline := time.Now().Add(limit)
	for pause := time.Millisecond; l.unread() > 0 && l.alive(); pause = min(2*pause, 20*time.Millisecond) {
		if time.Until(deadline) <= 0 {
			return
		}
		time.Sleep(pause)
	}
}

// alive reports whether a program runs or will be started.
func (l *logger) alive() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.waiting || l.run != nil && !l.run.seen
}

// hungUp reports whether nobody can write any more.
func (l *logger) hungUp() bool {
	hungUp := true
	for _, p := range l.ends() {
		hungUp = hungUp && p.hungUp()
		p.unref()
	}
	return hungUp
}

func (l *logger) unread() int {
	n := 0
	for _, p := range l.ends() {
		n += p.unread()
		p.unref()
	}
	return n
}
