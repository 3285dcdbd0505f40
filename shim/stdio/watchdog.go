// SPDX-License-Identifier: Apache-2.0

package stdio

// Every call of the pump is non-blocking, and yet one can hang: a pipe is
// locked while a process copies from its own memory into it, and that memory
// may be a page of a dead NFS server, of FUSE or of userfaultfd. A container
// can do that on purpose; it must not stop the others. So while the loop has
// work, a timer looks whether it is still in the turn it was in one tick ago.
// If so, a new loop takes over queue and epoll descriptor; the old goroutine
// stays with its stream and ends when the call returns. The stream is served
// by goroutines of its own from then on, so that it cannot do it again.
//
// An idle pump has no timer.

// armLocked starts the patrol, unless it is under way.
func (p *Pump) armLocked() {
	if !p.armed {
		p.armed = true
		p.seen = p.turns - 1
		p.patrol.Reset(p.cfg.Stuck)
	}
}

// lookAfter is the patrol's tick.
func (p *Pump) lookAfter() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.turn == nil && len(p.queue) == 0 {
		p.armed = false
		return
	}
	if p.turn != nil && p.turns == p.seen {
		p.turn.alone = true
		p.turn = nil
		p.gen++
		p.stuck.Add(1)
		go p.loop(p.gen)
	}
	p.seen = p.turns
	p.patrol.Reset(p.cfg.Stuck)
}
