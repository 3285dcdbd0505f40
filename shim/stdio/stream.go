// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"bytes"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	spliceMax = 1 << 20  // the kernel moves at most what the pipe holds
	copyMax   = 64 << 10 // bytes of one read
	turnMoves = 16       // calls before other streams have their turn
)

// mode is how a stream's bytes move.
type mode int

const (
	splice  mode = iota // pipe to pipe, in the kernel
	copied              // read and write: a pty or a file is involved
	discard             // read and forgotten: a terminal whose output nobody wants
	watched             // not moved: the log program reads the pipe itself
)

// state is where a stream is in the pump's schedule.
type state int

const (
	fresh    state = iota // not started
	idle                  // waits for an edge
	queued                // has an edge, waits for the loop
	running               // has a turn: whoever gave it owns the stream
	finished              // released, or being released
)

// verdict is the outcome of a turn.
type verdict int

const (
	goOn verdict = iota // stopped by the limit of a turn
	wait                // until an edge
	end                 // nothing comes any more
)

// stream carries bytes one way. All but the schedule and the atomics belongs
// to the goroutine that has its turn.
type stream struct {
	pump *Pump
	io   *IO
	tag  uint64 // HoldStdin, HoldStdout, HoldStderr
	mode mode
	src  *file
	dst  *file
	in   uint64 // token of the watch for src
	out  uint64 // token of the watch for dst

	toFile bool    // writes may block or fail for a while
	fifo   bool    // dst is a client's fifo: readers come and go
	logger *logger // reads what goes to dst; nil with watched

	policy   Backlog
	back     backlog
	stall    stall
	progress atomic.Uint64         // bytes that dst took; stored by the owner only
	lost     atomic.Uint64         // bytes that nobody will get
	stuck    atomic.Pointer[stuck] // nil while dst takes what there is
	retryDue atomic.Bool

	pending []byte // read, not yet written
	delay   time.Duration
	retry   *time.Timer

	closing atomic.Bool // stdin: CloseStdin was called

	// The schedule: guarded by pump.mu.
	state  state
	again  bool // an edge came during the turn
	closed bool // IO.Close was called
	alone  bool // turns may block: not by the loop
}

// buffers are for copies; the collector takes those of an idle pump.
type buffers struct{ pool sync.Pool }

func (b *buffers) get() *[copyMax]byte {
	if buf, ok := b.pool.Get().(*[copyMax]byte); ok {
		return buf
	}
	return new([copyMax]byte)
}

func (b *buffers) put(buf *[copyMax]byte) { b.pool.Put(buf) }

// turn moves what can be moved now, up to a limit.
func (s *stream) turn() verdict {
	if s.mode == watched {
		return s.turnWatched()
	}
	for range turnMoves {
		n, err := s.move()
		switch {
		case n > 0:
		case err == nil:
			return end
		case s.toFile && len(s.pending) > 0:
			s.stuckAt(err)
			s.retryLater()
			return s.pause()
		case err == unix.EAGAIN:
			return s.pause()
		case err == unix.EPIPE && s.fifo && s.dst.hold == nil:
			s.retryLater() // our read end was not to be had again
			return wait
		case err == unix.EINVAL && s.mode == splice:
			s.mode = copied // a kernel that cannot splice these two
		default:
			return end // EIO of a pty that was hung up, EPIPE of a closed stdin
		}
	}
	return goOn
}

// pause waits for the next edge, unless that is not to come.
func (s *stream) pause() verdict {
	switch {
	case s.closing.Load() && s.src.unread() == 0 && len(s.pending) == 0:
		return end
	case s.stopped():
		return goOn
	}
	return wait
}

// turnWatched ends when the last writer has closed.
func (s *stream) turnWatched() verdict {
	if s.src.hungUp() {
		return end
	}
	return wait
}

// move moves once. It returns 0 and no error at the end of src.
func (s *stream) move() (int, error) {
	var n int
	var err error
	switch {
	case s.back.ring != nil:
		return s.moveRing()
	case s.mode == splice:
		n, err = again(func() (int, error) {
			n, err := unix.Splice(s.src.fd, nil, s.dst.fd, nil, spliceMax, unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)
			return int(n), err
		})
	case s.mode == discard:
		buf := s.pump.buffers.get()
		defer s.pump.buffers.put(buf)
		n, err = again(func() (int, error) { return unix.Read(s.src.fd, buf[:]) })
	default:
		n, err = s.copy()
	}
	if n > 0 {
		s.count(n)
	}
	return n, err
}

// copy writes what is pending, or reads and writes once. What cannot be
// written stays pending; src is not read again before it is written.
func (s *stream) copy() (int, error) {
	if len(s.pending) > 0 {
		n, err := s.write(s.pending)
		s.pending = s.pending[n:]
		if len(s.pending) == 0 {
			s.pending = nil
		}
		return n, err
	}
	buf := s.pump.buffers.get()
	defer s.pump.buffers.put(buf)
	n, err := again(func() (int, error) { return unix.Read(s.src.fd, buf[:]) })
	if n <= 0 {
		return 0, err
	}
	done, err := s.write(buf[:n])
	if done < n {
		s.pending = bytes.Clone(buf[done:n])
	}
	return done, err
}

// write writes to dst once.
func (s *stream) write(b []byte) (int, error) {
	n, err := again(func() (int, error) { return unix.Write(s.dst.fd, b) })
	if n > 0 {
		s.delay = 0
	}
	if n == 0 && err == nil {
		err = unix.EAGAIN // a tty that takes nothing: 0 would mean end of file
	}
	return max(n, 0), err
}

// retryLater has the stream try again: the disk is full, or some such thing
// that passes. The process blocks meanwhile; nothing is lost.
func (s *stream) retryLater() {
	base := s.pump.cfg.Retry
	s.delay = min(max(2*s.delay, base), 50*base)
	if s.retry == nil {
		s.retry = time.AfterFunc(s.delay, s.tryNow)
		return
	}
	s.retry.Reset(s.delay)
}

// tryNow has the stream try whatever it waits for.
func (s *stream) tryNow() {
	s.retryDue.Store(true)
	s.pump.kick(s)
}

// again repeats a call that a signal interrupted.
func again(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != unix.EINTR {
			return n, err
		}
	}
}

// start has the stream's descriptors watched. Files are always ready, and
// epoll takes none; a pty is watched by its IO, for both directions at once.
// The stream is ours until that is done: its first edge may come at once.
func (s *stream) start() error {
	s.pump.claim(s)
	defer s.pump.yield(s)
	var err error
	if s.src.pipe {
		events := uint32(unix.EPOLLIN)
		if s.mode == watched {
			events = 0 // EPOLLHUP comes anyhow
		}
		if s.in, err = s.pump.watch(s.src, events, watch{in: s}); err != nil {
			return err
		}
	}
	if s.dst != nil && s.dst.pipe {
		s.out, err = s.pump.watch(s.dst, unix.EPOLLOUT, watch{out: s})
	}
	return err
}

// finish releases the stream. Preconditions: s.state is finished, by the caller.
func (s *stream) finish() {
	if s.retry != nil {
		s.retry.Stop()
	}
	s.disarm()
	s.pump.unwatch(s.src, s.in)
	if s.dst != nil {
		s.pump.unwatch(s.dst, s.out)
	}
	if s.io.cfg.Drop == nil {
		s.release()
		return
	}
	go func() { // asks another process: not in the loop
		s.io.drop(s.tag)
		s.release()
	}()
}

// release closes the stream's descriptors.
func (s *stream) release() {
	s.countLoss()
	s.src.unref()
	s.src = nil
	if s.fifo {
		s.io.part(s.dst)
	}
	s.dst.unref()
	s.pending = nil
	s.io.streamEnded(s)
}

// countLoss counts what the process had written and nobody took. Stdin is no
// loss: the process did not want it.
func (s *stream) countLoss() {
	if s.tag == HoldStdin || s.mode == discard || s.mode == watched {
		return
	}
	n := len(s.pending)
	if s.src != nil && s.src.pipe {
		n += s.src.unread()
	}
	s.lose(uint64(n))
	s.back.untold += uint64(n)
	s.back.told = time.Time{} // this is the last report
	s.closeRing()
	s.tellLoss(0)
}
