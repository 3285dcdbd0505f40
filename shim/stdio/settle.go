// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"context"
	"slices"
	"time"
)

const (
	// settleLook is how often Settle looks: the kernel tells nobody that a
	// fifo has been read empty.
	settleLook = time.Millisecond
	// settleAlone is how long Settle waits for a client to come at all.
	settleAlone = 50 * time.Millisecond
)

// Settle waits until the output that a process has written so far is in the
// hands of who reads it, or until ctx ends, or until it is plain that nobody
// reads. It is for the moment between a process's end and the news of it: the
// clients of containerd close their fifos, read or unread, when they hear of
// the end. Unlike Drain it does not wait for the last writer to close, and it
// returns no error: it is a courtesy.
func (io *IO) Settle(ctx context.Context) {
	if len(io.outputs) == 0 {
		return
	}
	settled := make(chan struct{})
	go func() { // a hostile process can make a look at its pipe hang; see watchdog.go
		defer close(settled)
		begin := time.Now()
		for ctx.Err() == nil {
			done, alone := io.settled()
			if done || alone && time.Since(begin) > settleAlone {
				return
			}
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

// settled reports whether all output has been read (done), and if not, whether
// that is only because no client has come, or none is left (alone).
func (io *IO) settled() (done, alone bool) {
	io.mu.Lock()
	if io.closed {
		io.mu.Unlock()
		return true, false
	}
	kept, awaited := slices.Clone(io.kept), []*file{}
	for _, p := range io.partings {
		awaited = append(awaited, p.fifo)
	}
	for _, f := range slices.Concat(kept, awaited) {
		f.ref()
	}
	io.mu.Unlock()
	reading, stuck := !allRead(kept), false
	for _, s := range io.outputs {
		switch {
		case io.pump.delivered(s):
		case s.stuck.Load() != nil:
			stuck = true
		default:
			reading = true
		}
	}
	alone = (!allRead(awaited) || stuck) && !reading
	return !reading && !alone, alone
}

// allRead reports whether nothing waits in any of the fifos, and unrefs them.
func allRead(fifos []*file) bool {
	all := true
	for _, f := range fifos {
		all = all && f.unread() == 0
		f.unref()
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
	return s.back.ring == nil && (!s.fifo || s.dst.unread() == 0)
}
