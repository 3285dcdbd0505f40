// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Tags of what Config.Hold is given.
const (
	HoldStdin  uint64 = 1 // the fifo and our end of the process's stdin
	HoldStdout uint64 = 2 // with a terminal: the pty master as well
	HoldStderr uint64 = 3
)

// Config is what one process's streams are to be. The zero value is a process
// with /dev/null for all three.
type Config struct {
	Stdin, Stdout, Stderr string // URIs of the request; "" is nothing
	Terminal              bool   // Start gets a pty master; Stderr is not used
	ContainerID           string // for log programs (the exec id for an exec) and errors
	Namespace             string
	UID, GID              int // owner of the process's pipes

	// Backlog is what is kept while nobody takes the output; see SetBacklog.
	Backlog Backlog
	// OnLoss is told of bytes that were lost, when it is known how many: the
	// next reader has passed the gap, or the streams were closed. nil: nobody.
	OnLoss func(stream string, bytes uint64)

	// Spawn starts a log program. Needed for binary:// only.
	Spawn func(ctx context.Context, l Logger) (LoggerProcess, error)
	// Hold lets another process keep duplicates of our descriptors, so that
	// a crash of ours loses nothing; Drop has it close those of a tag
	// (absent is success). Both may block. Nil: nobody keeps any.
	Hold func(tag uint64, files ...*os.File) error
	Drop func(tag uint64) error
}

// IO is the streams of one process. containerd's order of calls is
// Open, Start, any of CloseStdin and Resize, Drain, Close; CloseStdin and
// Resize may come before Start and are remembered. Its methods may be called
// from several goroutines, and none waits for a client.
type IO struct {
	pump     *Pump
	cfg      Config
	stdin    *stream   // nil: /dev/null
	outputs  []*stream // stdout, stderr, without those that are /dev/null
	logger   *logger   // nil without binary://
	drained  chan struct{}
	released chan struct{}

	closeStdin struct {
		once sync.Once
		err  error
	}

	mu       sync.Mutex // guards what follows
	child    [3]*os.File
	started  bool
	closed   bool
	master   *file
	token    uint64 // of the watch for master
	size     *unix.Winsize
	partings []*parting
	kept     []*file // fifos with bytes that nobody has read yet
	flowing  int     // outputs that have not ended
	open     int     // streams that have not ended
}

// Open opens what cfg names and makes the process's pipes. It waits for
// nothing but the log program, and for that no longer than ctx.
func (p *Pump) Open(ctx context.Context, cfg Config) (*IO, error) {
	io := &IO{pump: p, cfg: cfg, drained: make(chan struct{}), released: make(chan struct{})}
	err := io.openStdin()
	if err == nil {
		err = io.openOutputs(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open stdio of %q: %w", cfg.ContainerID, err), io.Close())
	}
	if len(io.outputs) == 0 {
		close(io.drained)
	}
	if io.open == 0 {
		close(io.released)
	}
	return io, nil
}

// Child returns the process's ends, nil for /dev/null. They are closed by CloseChild.
func (io *IO) Child() (stdin, stdout, stderr *os.File) {
	io.mu.Lock()
	defer io.mu.Unlock()
	return io.child[0], io.child[1], io.child[2]
}

// CloseChild closes our copies of the process's ends. It must follow the
// spawn, or no output ever ends.
func (io *IO) CloseChild() error {
	io.mu.Lock()
	defer io.mu.Unlock()
	var errs []error
	for i, f := range io.child {
		if f != nil {
			errs = append(errs, f.Close())
			io.child[i] = nil
		}
	}
	return errors.Join(errs...)
}

// Start begins to carry. master is the pty's, nil without a terminal; it is
// the IO's from now on, and closed even when Start fails.
func (io *IO) Start(master *os.File) error {
	if master != nil {
		defer master.Close()
	}
	io.mu.Lock()
	defer io.mu.Unlock()
	switch {
	case io.closed:
		return fmt.Errorf("start stdio of %q: %w", io.cfg.ContainerID, os.ErrClosed)
	case io.started:
		return fmt.Errorf("start stdio of %q: started before", io.cfg.ContainerID)
	case io.cfg.Terminal != (master != nil):
		return fmt.Errorf("start stdio of %q: terminal is %t, but the pty's master is %v", io.cfg.ContainerID, io.cfg.Terminal, master)
	}
	io.started = true
	if err := io.startLocked(master); err != nil {
		return fmt.Errorf("start stdio of %q: %w", io.cfg.ContainerID, err)
	}
	return nil
}

func (io *IO) startLocked(master *os.File) error {
	if master != nil {
		if err := io.takeMasterLocked(master); err != nil {
			return err
		}
	}
	// All that may take long comes before the first stream runs: from then
	// on the pump may want our lock.
	for _, s := range io.streams() {
		if err := io.hold(s); err != nil {
			return err
		}
	}
	io.policiesLocked()
	for _, s := range io.streams() {
		if err := s.start(); err != nil {
			return err
		}
	}
	if io.master != nil {
		var err error
		io.token, err = io.pump.watch(io.master, unix.EPOLLIN|unix.EPOLLOUT, watch{in: io.outputs[0], out: io.stdin})
		if err != nil {
			return err
		}
	}
	if io.stdin != nil && io.stdin.closing.Load() {
		io.pump.kick(io.stdin)
	}
	return nil
}

// takeMasterLocked makes the master the source of stdout and the end of stdin.
func (io *IO) takeMasterLocked(master *os.File) error {
	fd, err := dupOf(master)
	if err != nil {
		return fmt.Errorf("take pty master: %w", err)
	}
	io.master = newFile(fd, "pty master")
	if err := unix.SetNonblock(fd, true); err != nil {
		return fmt.Errorf("take pty master: %w", err)
	}
	io.outputs[0].src = io.master.ref()
	if io.stdin != nil {
		io.stdin.dst = io.master.ref()
	}
	if io.size != nil {
		return io.resizeLocked()
	}
	return nil
}

// CloseStdin ends the process's stdin, once, as soon as everything that
// clients have written to the fifo until now has been delivered. It does not
// wait for that. A terminal's stdin is merely no longer read: the terminal
// stays, as its output may go on.
func (io *IO) CloseStdin() error {
	if io.stdin == nil {
		return nil
	}
	io.closeStdin.once.Do(func() {
		io.closeStdin.err = io.drop(HoldStdin)
		io.stdin.closing.Store(true)
		io.pump.kick(io.stdin)
	})
	return io.closeStdin.err
}

// HasTerminal reports whether the process has a terminal to resize.
func (io *IO) HasTerminal() bool { return io.cfg.Terminal }

// Resize sets the size of the terminal. Before Start it is remembered.
func (io *IO) Resize(width, height uint32) error {
	io.mu.Lock()
	defer io.mu.Unlock()
	switch {
	case !io.cfg.Terminal:
		return fmt.Errorf("resize terminal of %q: it has none", io.cfg.ContainerID)
	case io.closed:
		return fmt.Errorf("resize terminal of %q: %w", io.cfg.ContainerID, os.ErrClosed)
	}
	const most = 1<<16 - 1
	io.size = &unix.Winsize{Col: uint16(min(width, most)), Row: uint16(min(height, most))}
	if io.master == nil {
		return nil
	}
	return io.resizeLocked()
}

func (io *IO) resizeLocked() error {
	if err := unix.IoctlSetWinsize(io.master.fd, unix.TIOCSWINSZ, io.size); err != nil {
		return fmt.Errorf("resize terminal of %q: %w", io.cfg.ContainerID, os.NewSyscallError("TIOCSWINSZ", err))
	}
	return nil
}

// Close releases everything, delivered or not, and ends the log program.
// It waits for nothing else. Closing twice is no error.
func (io *IO) Close() error {
	io.mu.Lock()
	if io.closed {
		io.mu.Unlock()
		return nil
	}
	io.closed = true
	io.mu.Unlock()
	errs := []error{io.CloseChild()}
	for _, s := range io.streams() {
		io.pump.abandon(s)
	}
	if len(io.streams()) > 0 {
		// A stream that is having its turn is released after it. That is
		// now, unless the turn hangs (watchdog.go); then it is later.
		select {
		case <-io.released:
		case <-time.After(time.Second):
		}
	}
	if io.logger != nil {
		errs = append(errs, io.logger.stop())
	}
	io.mu.Lock()
	master, kept := io.master, io.kept
	io.master, io.kept = nil, nil
	for len(io.partings) > 0 {
		errs = append(errs, io.partings[0].endLocked())
	}
	io.mu.Unlock()
	if master != nil {
		io.pump.unwatch(master, io.token)
		errs = append(errs, master.unref())
	}
	for _, f := range kept {
		errs = append(errs, f.unref())
	}
	return errors.Join(errs...)
}

// streams are all streams, stdin first.
func (io *IO) streams() []*stream {
	if io.stdin == nil {
		return io.outputs
	}
	return append([]*stream{io.stdin}, io.outputs...)
}

// hold hands out duplicates of s's descriptors.
func (io *IO) hold(s *stream) error {
	if io.cfg.Hold == nil {
		return nil
	}
	var files []*os.File
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	for _, f := range []*file{s.src, s.dst} {
		if f == nil {
			continue
		}
		d, err := f.dup()
		if err != nil {
			return err
		}
		files = append(files, d)
	}
	return io.cfg.Hold(s.tag, files...)
}

func (io *IO) drop(tag uint64) error {
	if io.cfg.Drop == nil {
		return nil
	}
	return io.cfg.Drop(tag)
}

// streamEnded is called once for each stream, when it has been released.
func (io *IO) streamEnded(s *stream) {
	io.pump.mu.Lock()
	io.pump.open--
	io.pump.mu.Unlock()
	io.mu.Lock()
	defer io.mu.Unlock()
	if s.tag != HoldStdin {
		io.flowing--
		if io.flowing == 0 {
			close(io.drained)
		}
	}
	io.open--
	if io.open == 0 {
		close(io.released)
	}
}

// dupOf duplicates a descriptor whose file may be in Go's poller: Fd() would
// make it block.
func dupOf(f *os.File) (int, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	fd, failed := -1, error(nil)
	err = raw.Control(func(old uintptr) {
		fd, failed = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0)
	})
	return fd, errors.Join(err, os.NewSyscallError("dup", failed))
}
