// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"context"
	"slices"
	"time"
)

// settleLook is how often Settle looks: the kernel tells nobody that a fifo
// has been read empty.
const settleLook = time.Millisecond

// Settle waits until the output that a process has written so far is in the
// hands of who reads it, or until ctx ends. It is for the moment between a
// process's end and the news of it: a client that hears of the end may let go
// of a fifo that it has not even opened yet. Unlike Drain it does not wait for
// the last writer to close, and it returns no error: it is a courtesy.
func (io *IO) Settle(ctx context.Context) {
	if len(io.outputs) == 0 {
		return
	}
	settled := make(chan struct{})
	go func() { // a hostile process can make a look at its pipe hang; see watchdog.go
		defer close(settled)
		for !io.settled() && ctx.Err() == nil {
			time.Sleep(settleLook)
		}
	}()
	select {
	case <-settled:
	case <-ctx.Done():
	}
}

// HasOutput reports whether there is anything for Settle to wait for.
func (io *IO) HasOutput() bool { return len(io.outputs) > 0 }

func (io *IO) settled() bool {
	io.mu.Lock()
	if io.closed {
		io.mu.Unlock()
		return true
	}
	kept := slices.Clone(io.kept)
	for _, p := range io.partings {
		kept = append(kept, p.fifo)
	}
	for _, f := range kept {
		f.ref()
	}
	io.mu.Unlock()
	all := true
	for _, f := range kept {
		all = all && f.unread() == 0
		f.unref()
	}
	for _, s := range io.outputs {
		all = all && io.pump.delivered(s)
	}
	return all
}

// delivered reports whether s holds nothing: neither its pipe nor its client's
// fifo has an unread byte. Whoever else has s just now has not finished.
func (p *Pump) delivered(s *stream) bool {
	p.mu.Lock()
	if s.state != idle {
		finished := s.state == finished
		p.mu.Unlock()
		return finished
	}
	s.state = running // not under mu: a look can hang
	p.mu.Unlock()
	ok := s.empty()
	p.mu.Lock()
	v := p.settleLocked(s, wait)
	p.mu.Unlock()
	switch v {
	case end:
		s.finish()
	case goOn:
		go p.runAlone(s)
	}
	return ok
}

// empty reports whether nothing of s is under way. Preconditions: the caller
// has s's turn.
func (s *stream) empty() bool {
	if s.mode == discard || s.mode == watched {
		return true
	}
	if len(s.pending) > 0 || s.src.unread() > 0 {
		return false
	}
	return s.dst == nil || s.dst.hold == nil || s.dst.hold.unread() == 0
}
