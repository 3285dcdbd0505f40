// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	drainLook  = 20 * time.Millisecond
	drainStuck = 2 * time.Second // without progress: nobody will take the rest
)

var errNobodyReads = errors.New("nobody reads it")

// stuck says that a stream's end takes nothing, since when and why.
type stuck struct {
	since time.Time
	err   error
}

// stuckAt notes that dst takes nothing. The first reason stays.
func (s *stream) stuckAt(err error) {
	if s.stuck.Load() == nil {
		s.stuck.CompareAndSwap(nil, &stuck{time.Now(), err})
	}
}

// freed notes that it does again.
func (s *stream) freed() {
	if s.stuck.Load() != nil {
		s.stuck.Store(nil)
	}
}

// Drain returns when all output up to the last writer's close is in the
// client's hands (its fifo, the file, the log program's pipe), when ctx ends,
// for a grandchild may keep the pipe open for ever, or when what is left has
// had nowhere to go for a while: its disk is full, or nobody reads it.
func (io *IO) Drain(ctx context.Context) error {
	select {
	case <-io.drained:
		return nil
	default:
	}
	for _, s := range io.outputs {
		s.stall.due.Store(true)
		s.tryNow() // it may have waited for a retry
	}
	if io.logger != nil {
		io.logger.hurry()
	}
	began := time.Now()
	tick := time.NewTicker(drainLook)
	defer tick.Stop()
	for {
		select {
		case <-io.drained:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("drain output of %q: %w", io.cfg.ContainerID, context.Cause(ctx))
		case <-tick.C:
		}
		if err := io.hopeless(); err != nil && time.Since(began) >= drainStuck {
			return fmt.Errorf("drain output of %q: %w", io.cfg.ContainerID, err)
		}
	}
}

// hopeless returns why what is left of the output goes nowhere, if it does.
func (io *IO) hopeless() error {
	var errs []error
	for _, s := range io.outputs {
		if io.pump.done(s) {
			continue
		}
		st := s.stuck.Load()
		if st == nil || time.Since(st.since) < drainStuck {
			return nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", outputName(s.tag), st.err))
	}
	return errors.Join(errs...)
}

// done reports whether s carries nothing any more.
func (p *Pump) done(s *stream) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return s.state == finished
}

// SetBacklog says what is kept of the output while nobody takes it. It comes
// before Start.
func (io *IO) SetBacklog(b Backlog) {
	io.mu.Lock()
	defer io.mu.Unlock()
	io.cfg.Backlog = b
}

// policiesLocked tells the streams of the backlog. Two streams into one fifo
// hold it open for each other, so nobody can say who reads it.
func (io *IO) policiesLocked() {
	if len(io.outputs) == 2 && io.outputs[0].fifo && io.outputs[1].fifo {
		a, errA := fifoInode(io.outputs[0].dst)
		b, errB := fifoInode(io.outputs[1].dst)
		if a == b || errA != nil || errB != nil {
			return
		}
	}
	for _, s := range io.outputs {
		s.policy = io.cfg.Backlog
		s.back.seen = s.fifo && s.dst.met || s.logger != nil
		if s.keeps() && s.fifo && !s.back.seen {
			s.expect()
		}
	}
}

// Lost is how many bytes of a process's outputs nobody got.
type Lost struct{ Stdout, Stderr uint64 }

// Lost returns the counters so far.
func (io *IO) Lost() Lost {
	var l Lost
	for _, s := range io.outputs {
		if s.tag == HoldStdout {
			l.Stdout = s.lost.Load()
		} else {
			l.Stderr = s.lost.Load()
		}
	}
	return l
}
