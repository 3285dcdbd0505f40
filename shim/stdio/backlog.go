// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// LossPolicy says when a process's output may be lost so that the process
// need not wait.
type LossPolicy int

// The policies. A client that is merely slow loses nothing unless
// [LossFull] was asked for.
const (
	LossAbsent LossPolicy = iota // when no client has the fifo open any more and the ring is full
	LossNever                    // the process waits
	LossFull                     // when the ring is full, whoever reads, and also for a file that takes nothing
)

// Backlog is what is kept of each output while nobody takes it. The zero
// value keeps nothing but what the kernel's pipes hold.
type Backlog struct {
	Bytes int // size of the ring of each output, rounded up to 64 KiB
	Loss  LossPolicy
	Mark  bool // have the reader find a line in the place of lost bytes
}

const (
	stallFirst = 2 * time.Millisecond   // without progress: then it is time to look who reads
	stallMoves = 10 * time.Millisecond  // between looks at what is slow
	stallMost  = 250 * time.Millisecond // between looks in vain
	stallLate  = time.Second            // a client that is late has come by then
	lossTell   = 10 * time.Second       // between two reports of loss
	lossGrace  = 100 * time.Millisecond // a client that goes and comes again at once loses nothing
)

// backlog is what a stream knows of who reads it. It belongs to the goroutine
// that has the stream's turn.
type backlog struct {
	ring *ring     // nil: the pipes hold all that is under way
	seen bool      // a client has been there
	gone time.Time // since when there is none; zero: there is one, or nobody has looked
	eof  bool      // src is at its end, the ring is not

	taken uint64 // bytes that a client had taken when it was last looked for

	untold uint64    // bytes lost since
	told   time.Time // OnLoss was called
}

// stall is the watch over a stream that makes no progress.
type stall struct {
	due     atomic.Bool // the next stop is to look
	blocked atomic.Bool // at the last stop

	timer *time.Timer // this and what follows is guarded by pump.mu
	armed bool
	sent  uint64 // progress when it was armed
	delay time.Duration
}

// keeps reports whether the stream is one that a ring is for.
func (s *stream) keeps() bool {
	return s.policy.Bytes > 0 && (s.fifo || s.logger != nil || s.toFile && s.policy.Loss == LossFull)
}

// count notes n bytes that have gone to dst.
func (s *stream) count(n int) {
	s.pump.moved.Add(uint64(n))
	s.progress.Store(s.progress.Load() + uint64(n))
	s.back.gone = time.Time{}
	s.freed()
	if s.back.ring != nil {
		s.back.ring.lossy.Store(s.policy.Loss == LossFull)
	}
}

// blocked reports whether there is something that dst did not take.
func (s *stream) blocked() bool {
	switch {
	case s.back.ring != nil:
		return s.back.ring.len() > 0
	case s.mode == splice:
		return s.src.unread() > 0
	}
	return len(s.pending) > 0
}

// stopped is the end of a turn that found nothing to move. A stream that is
// blocked is looked at when it stays so. It reports whether there is more to
// move after all.
func (s *stream) stopped() bool {
	if !s.keeps() {
		return false
	}
	due := s.stall.due.Load() && s.stall.due.Swap(false)
	blocked := s.blocked()
	s.stall.blocked.Store(blocked)
	switch {
	case due:
		return s.look(blocked)
	case blocked && (s.back.ring == nil || s.back.ring.room() == 0):
		s.arm()
	}
	return false
}

// look finds out whether anybody reads, and opens the ring if that is due.
func (s *stream) look(blocked bool) bool {
	s.notice()
	switch {
	case !blocked:
		return false
	case s.back.ring != nil && s.back.ring.room() > 0, s.back.ring != nil && s.mayLose():
		return true
	case s.back.ring == nil && s.engages() && s.openRing():
		return true
	}
	s.arm()
	return false
}

// notice looks at who reads.
func (s *stream) notice() {
	if s.toFile {
		return
	}
	here, why := false, errNobodyReads
	if s.logger != nil {
		s.back.seen = true // or Open had failed
		here, why = s.logger.reads(s), errNoLogger
	} else {
		here = s.dst.attended()
	}
	switch {
	case here:
		s.back.seen, s.back.gone = true, time.Time{}
		s.freed()
	case s.back.gone.IsZero():
		s.back.gone = time.Now()
		s.stuckAt(why)
	}
	if s.back.taken = s.taken(); s.back.taken > 0 {
		s.back.seen = true
	}
}

// engages reports whether a ring is due. A client that has never come is
// waited for as ever: it may want the first byte.
func (s *stream) engages() bool {
	if s.policy.Loss == LossFull {
		return true
	}
	return !s.toFile && s.back.seen && !s.back.gone.IsZero()
}

// openRing has the stream go on with a ring, if there is memory for it or the
// bytes may be lost.
func (s *stream) openRing() bool {
	r := s.pump.rings.open(s.policy.Bytes, s.policy.Mark, s.lose)
	if r.room() == 0 && !s.lossNow() {
		r.close()
		return false
	}
	s.back.ring = r
	if len(s.pending) > 0 {
		r.add(s.pending) // a chunk at most
		s.pending = nil
	}
	return true
}

// mayLose reports whether the oldest bytes may be dropped for what is to be
// read. Where nobody reads, looking makes an edge, and an edge a turn: it must
// not look in every turn.
func (s *stream) mayLose() bool {
	if s.policy.Loss == LossAbsent && (s.back.gone.IsZero() || s.lossNow()) {
		s.notice()
	}
	return s.lossNow()
}

// lossNow is mayLose without a look.
func (s *stream) lossNow() bool {
	switch s.policy.Loss {
	case LossFull:
		return true
	case LossAbsent:
		return s.back.seen && !s.back.gone.IsZero() && time.Since(s.back.gone) >= lossGrace
	}
	return false
}

// moveRing writes what the ring has, and when dst takes nothing more reads
// src into it. It returns 0 and no error when both are at their end.
func (s *stream) moveRing() (int, error) {
	n, err := s.unload()
	switch {
	case n > 0:
		return n, nil
	case err == nil && s.back.eof: // and the ring is empty
		return 0, nil
	case err == nil:
		s.closeRing()
		return s.move()
	case err == unix.EAGAIN || s.toFile:
		return s.load()
	}
	return 0, err
}

// unload writes once from the ring. It returns 0 and no error for an empty one.
func (s *stream) unload() (int, error) {
	if !s.ready() { // before 64 KiB are copied for each line of the process
		return 0, unix.EAGAIN
	}
	buf := s.pump.buffers.get()
	defer s.pump.buffers.put(buf)
	n := s.back.ring.peek(buf[:])
	if n == 0 {
		s.back.ring.advance(0)
		return 0, nil
	}
	done, err := s.write(buf[:n])
	s.tellLoss(s.back.ring.advance(done))
	if done > 0 {
		s.count(done)
		return done, nil
	}
	if s.toFile {
		s.stuckAt(err)
		s.retryLater()
	}
	return 0, err
}

// ready reports whether dst may take something.
func (s *stream) ready() bool {
	if s.toFile {
		return s.delay == 0 || s.retryDue.Swap(false)
	}
	return s.dst.polls(unix.POLLOUT)
}

// load reads once from src into the ring; there is always more to wait for.
func (s *stream) load() (int, error) {
	if s.back.eof || !s.src.polls(unix.POLLIN) {
		return 0, unix.EAGAIN
	}
	s.back.ring.lossy.Store(s.lossNow())
	room := s.back.ring.room()
	if room == 0 {
		if !s.mayLose() {
			return 0, unix.EAGAIN
		}
		room = copyMax
	}
	buf := s.pump.buffers.get()
	defer s.pump.buffers.put(buf)
	n, err := again(func() (int, error) { return unix.Read(s.src.fd, buf[:min(room, copyMax)]) })
	if n > 0 {
		s.back.ring.add(buf[:n])
		return n, nil
	}
	s.back.eof = err != unix.EAGAIN // also the EIO of a pty that was hung up
	return 0, unix.EAGAIN
}

// closeRing has the stream go on without its ring.
func (s *stream) closeRing() {
	if s.back.ring == nil {
		return
	}
	n, gap := s.back.ring.close()
	s.back.ring = nil
	s.lose(uint64(n))
	s.tellLoss(gap + uint64(n))
}

// lose counts bytes that nobody will get.
func (s *stream) lose(n uint64) {
	s.lost.Add(n)
	s.pump.lost.Add(n)
}

// tellLoss reports bytes that were lost, once it is known how many. A reader
// that keeps falling behind is not told of each time.
func (s *stream) tellLoss(n uint64) {
	s.back.untold += n
	if s.back.untold == 0 || !s.back.told.IsZero() && time.Since(s.back.told) < lossTell {
		return
	}
	n, s.back.untold, s.back.told = s.back.untold, 0, time.Now()
	if s.io.cfg.OnLoss != nil {
		go s.io.cfg.OnLoss(outputName(s.tag), n) // it logs
	}
}

// arm has the stream looked at when it makes no progress for a while: sooner
// the first time, later each time in vain.
func (s *stream) arm() {
	now := s.progress.Load()
	s.pump.mu.Lock()
	defer s.pump.mu.Unlock()
	if s.stall.armed || s.closed {
		return
	}
	most := stallMost
	if !s.back.seen {
		most = stallLate
	}
	delay := stallFirst
	if s.stall.sent == now {
		delay = min(max(2*s.stall.delay, stallFirst), most)
	}
	s.armLocked(now, delay)
}

// expect has the stream looked at once, for a client that comes late and
// whose process is silent.
func (s *stream) expect() {
	s.pump.mu.Lock()
	defer s.pump.mu.Unlock()
	if !s.stall.armed && !s.closed {
		s.armLocked(0, stallLate)
	}
}

func (s *stream) armLocked(sent uint64, d time.Duration) {
	s.stall.armed, s.stall.delay, s.stall.sent = true, d, sent
	if s.stall.timer == nil {
		s.stall.timer = time.AfterFunc(d, s.stalled)
		return
	}
	s.stall.timer.Reset(d)
}

// stalled is the timer's tick.
func (s *stream) stalled() {
	s.pump.mu.Lock()
	s.stall.armed = false
	if s.state == finished || s.closed {
		s.pump.mu.Unlock()
		return
	}
	if now := s.progress.Load(); now != s.stall.sent {
		if s.stall.blocked.Load() {
			s.armLocked(now, stallMoves)
		}
		s.pump.mu.Unlock()
		return
	}
	s.pump.mu.Unlock()
	s.stall.due.Store(true)
	s.pump.kick(s)
}

func (s *stream) disarm() {
	s.pump.mu.Lock()
	defer s.pump.mu.Unlock()
	if s.stall.timer != nil {
		s.stall.timer.Stop()
	}
}
