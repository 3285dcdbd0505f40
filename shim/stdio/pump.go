// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// PumpConfig has the times of a Pump. Zero values are what the shim uses;
// tests shorten them.
type PumpConfig struct {
	// LoggerStop bounds how long Close waits for a log program: it has this
	// long to end by itself, the last part of it after SIGTERM. 12 s.
	LoggerStop time.Duration
	// LoggerReady bounds how long Open waits for a log program to be ready. 30 s.
	LoggerReady time.Duration
	// Retry is the first pause before a failed write to a log file, or a
	// failed start of a log program, is tried again. It doubles up to 50
	// times itself. 100 ms.
	Retry time.Duration
	// Stuck is how long one call of the pump may take before the other
	// streams get another pump goroutine. 100 ms.
	Stuck time.Duration
	// Rings is the memory of the rings of all streams together; see
	// Backlog. 64 MiB.
	Rings int
}

func (c *PumpConfig) defaults() {
	for _, d := range []struct {
		v   *time.Duration
		def time.Duration
	}{
		{&c.LoggerStop, 12 * time.Second},
		{&c.LoggerReady, 30 * time.Second},
		{&c.Retry, 100 * time.Millisecond},
		{&c.Stuck, 100 * time.Millisecond},
	} {
		if *d.v == 0 {
			*d.v = d.def
		}
	}
	if c.Rings == 0 {
		c.Rings = 64 << 20
	}
}

// Stats are the counters of a Pump since it was made.
type Stats struct {
	Streams int    // open now, with or without traffic
	Moved   uint64 // bytes carried
	Lost    uint64 // bytes of processes that nobody got: dropped from a ring, or not taken when their IO was closed
	Stuck   uint64 // calls that did not come back in time
	Rings   int    // in use now, because nobody takes the output
	Kept    int    // memory of the rings in bytes
}

// Pump carries the streams of all processes. Its methods may be called from
// several goroutines.
type Pump struct {
	cfg   PumpConfig
	ep    *os.File        // the epoll descriptor, for parking in Go's poller
	epRaw syscall.RawConn // the same
	epfd  int             // the same

	moved, lost, stuck atomic.Uint64
	loops              sync.WaitGroup
	buffers            buffers
	rings              ringPool

	mu      sync.Mutex // guards what follows, and the schedule of every stream
	closed  bool
	watches map[uint64]watch // by the token in the epoll event
	token   uint64
	open    int       // streams
	queue   []*stream // those that can go on, in order
	turn    *stream   // what the loop is busy with
	turns   uint64    // how many it has begun
	gen     uint64    // of the loop that may go on; see watchdog.go
	patrol  *time.Timer
	seen    uint64 // turns at the last patrol
	armed   bool   // patrol is running
}

// watch says whom an edge of a descriptor concerns.
type watch struct {
	in  *stream // reads from it
	out *stream // writes to it
}

// NewPump makes a pump and its goroutine.
func NewPump(cfg PumpConfig) (*Pump, error) {
	cfg.defaults()
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make stdio pump: %w", os.NewSyscallError("epoll_create1", err))
	}
	// A non-blocking descriptor is one that os.NewFile hands to Go's poller.
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("make stdio pump: %w", err)
	}
	p := &Pump{cfg: cfg, ep: os.NewFile(uintptr(fd), "epoll"), epfd: fd, watches: map[uint64]watch{}}
	// Only a file in Go's poller takes a deadline.
	if err = p.ep.SetDeadline(time.Time{}); err == nil {
		p.epRaw, err = p.ep.SyscallConn()
	}
	if err != nil {
		p.ep.Close()
		return nil, fmt.Errorf("make stdio pump: %w", err)
	}
	p.rings.most = max(cfg.Rings/chunkSize, 1)
	p.patrol = time.AfterFunc(time.Hour, p.lookAfter)
	p.patrol.Stop()
	p.loops.Add(1)
	go p.loop(0)
	return p, nil
}

// Close ends the pump. IOs that are still open carry nothing any more, but
// must be closed all the same.
func (p *Pump) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.closed = true
	p.patrol.Stop()
	p.mu.Unlock()
	err := p.ep.Close()
	p.loops.Wait()
	return err
}

// Stats returns the counters.
func (p *Pump) Stats() Stats {
	rings, kept := p.rings.state()
	p.mu.Lock()
	defer p.mu.Unlock()
	return Stats{Streams: p.open, Moved: p.moved.Load(), Lost: p.lost.Load(), Stuck: p.stuck.Load(), Rings: rings, Kept: kept}
}

var errPumpClosed = errors.New("pump is closed")

// watch has f's edges reported to w. A descriptor is watched at most once.
func (p *Pump) watch(f *file, events uint32, w watch) (uint64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return 0, errPumpClosed
	}
	p.token++
	ev := unix.EpollEvent{Events: events | unix.EPOLLET, Fd: int32(uint32(p.token)), Pad: int32(p.token >> 32)}
	// Under mu: the first edge may be reported before we return.
	if err := unix.EpollCtl(p.epfd, unix.EPOLL_CTL_ADD, f.fd, &ev); err != nil {
		return 0, fmt.Errorf("watch %s: %w", f.path, os.NewSyscallError("epoll_ctl", err))
	}
	p.watches[p.token] = w
	return p.token, nil
}

// unwatch must come before f is closed: another process may hold a duplicate,
// and epoll forgets a file only with its last one. Absent is success.
func (p *Pump) unwatch(f *file, token uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.watches[token]; !ok {
		return
	}
	delete(p.watches, token)
	if !p.closed {
		unix.EpollCtl(p.epfd, unix.EPOLL_CTL_DEL, f.fd, nil)
	}
}

// claim makes the caller the owner of s, which is fresh.
func (p *Pump) claim(s *stream) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.state = running
}

// yield ends that.
func (p *Pump) yield(s *stream) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.state = idle
	if s.again {
		s.again = false
		s.state = running
		go p.runAlone(s)
	}
}

// kick gives s a turn in a goroutine of its own, for callers who are not the loop.
func (p *Pump) kick(s *stream) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch s.state {
	case idle:
		s.state = running
		go p.runAlone(s)
	case running:
		s.again = true
	}
}

// runAlone gives s turns until it has to wait. Preconditions: s.state is
// running and the caller is its owner.
func (p *Pump) runAlone(s *stream) {
	for {
		v := s.turn()
		p.mu.Lock()
		v = p.settleLocked(s, v)
		p.mu.Unlock()
		switch v {
		case wait:
			return
		case end:
			s.finish()
			return
		}
	}
}

// settleLocked ends a turn of s: v as it came, unless something has happened
// to s meanwhile. Postconditions: after wait the caller owns s no longer.
func (p *Pump) settleLocked(s *stream, v verdict) verdict {
	switch {
	case v == end || s.closed:
		s.state = finished
		return end
	case s.again:
		s.again = false
		return goOn
	case v == wait:
		s.state = idle
	}
	return v
}

// abandon ends s, whatever is left in it. It does not wait for a turn that
// is under way: whoever has it releases s.
func (p *Pump) abandon(s *stream) {
	p.mu.Lock()
	s.closed = true
	mine := s.state != running && s.state != finished
	if mine {
		s.state = finished
	}
	p.mu.Unlock()
	if mine {
		s.finish()
	}
}
