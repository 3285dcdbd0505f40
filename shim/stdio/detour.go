// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

var errNoLogger = errors.New("the log program does not run")

// A log program reads the process's pipe itself, which costs us nothing. When
// it dies there is nobody, and the process would block as soon as the pipe is
// full. So from its first death on, the output makes a detour:
//
//	process --pipe--> [splice, ring when blocked] --pipe--> log program
//
// The next program gets the second pipe and goes on with the byte after the
// last that the first one has taken.

// detour puts the pump between the process and the next log program.
func (l *logger) detour() error {
	var errs []error
	for _, s := range l.io.outputs {
		l.pump.borrow(s, func() {
			if s.mode == watched && s.policy.Bytes > 0 { // a terminal's output goes through the pump anyhow
				errs = append(errs, l.detourOf(s))
			}
		})
	}
	return errors.Join(errs...)
}

// detourOf does so for s. Preconditions: the caller has its turn, and no log
// program runs.
func (l *logger) detourOf(s *stream) error {
	r, w, err := l.cfg.makePipe(outputName(s.tag), false)
	if err != nil {
		return err
	}
	defer w.Close()
	dst, err := pumpEnd(w)
	if err != nil {
		return errors.Join(err, r.unref())
	}
	err = errors.Join(unix.SetNonblock(r.fd, false), unix.SetNonblock(s.src.fd, true))
	if err != nil {
		return errors.Join(fmt.Errorf("%s: %w", dst.path, err), dst.unref(), r.unref())
	}
	l.pump.unwatch(s.src, s.in)
	if s.in, err = l.pump.watch(s.src, unix.EPOLLIN, watch{in: s}); err == nil {
		s.out, err = l.pump.watch(dst, unix.EPOLLOUT, watch{out: s})
	}
	s.mode, s.dst, s.logger, s.back.seen = splice, dst, l, true
	l.replace(s.tag, r)
	return err
}

// borrow calls f while nobody else has a turn of s, and then gives s one. A
// stream that has ended, or has not begun, is left alone.
func (p *Pump) borrow(s *stream, f func()) {
	for {
		p.mu.Lock()
		switch {
		case s.closed || s.state == finished || s.state == fresh:
			p.mu.Unlock()
			return
		case s.state == idle:
			s.state = running
			p.mu.Unlock()
			f()
			p.runAlone(s)
			return
		}
		p.mu.Unlock()
		time.Sleep(time.Millisecond) // a turn is short, and one that hangs has all the time
	}
}

// replace has the next program read r as the output of tag; nil is the end,
// and what nobody has read by then is lost.
func (l *logger) replace(tag uint64, r *file) {
	l.pipesMu.Lock()
	old := l.pipes[tag-HoldStdout]
	l.pipes[tag-HoldStdout] = r
	if r == nil {
		l.ended = true
	} else if l.ended {
		l.pipes[tag-HoldStdout] = nil
		defer r.unref() // too late
	}
	l.pipesMu.Unlock()
	if old != nil && r == nil {
		l.pump.lost.Add(uint64(old.unread()))
	}
	old.unref()
}

// ends returns what the program reads, with a reference each.
func (l *logger) ends() (list []*file) {
	l.pipesMu.Lock()
	defer l.pipesMu.Unlock()
	for _, p := range l.pipes {
		if p != nil {
			list = append(list, p.ref())
		}
	}
	return list
}

// hurry starts the next program at once, if there is to be one.
func (l *logger) hurry() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waiting && !l.stopped && l.timer.Stop() {
		l.timer.Reset(0)
	}
}

// reads reports whether a program is there to read s. The successor of one that
// died has to show that it does: of programs that die one after the other each is
// there for a moment.
func (l *logger) reads(s *stream) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.run == nil || l.run.seen {
		return false
	}
	return l.delay == 0 || time.Since(l.run.began) > drainStuck || s.taken() > s.back.taken
}

// taken is how much of what dst took has been read from it.
func (s *stream) taken() uint64 {
	return s.progress.Load() - min(s.progress.Load(), uint64(s.dst.unread()))
}
