// SPDX-License-Identifier: Apache-2.0

package stdio

import "golang.org/x/sys/unix"

// loop is the pump's goroutine: wait for edges, give each stream that has
// one a turn. It ends when the pump is closed or another loop has replaced it.
func (p *Pump) loop(gen uint64) {
	defer p.loopEnd(gen)
	events := make([]unix.EpollEvent, 128)
	for {
		if !p.serve(gen) {
			return
		}
		n, err := p.wait(events)
		if err != nil {
			return // the pump is closed: nothing else fails here
		}
		p.dispatch(events[:n])
	}
}

// loopEnd lets Close return; a loop that was replaced has handed that duty on.
func (p *Pump) loopEnd(gen uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gen == gen {
		p.loops.Done()
	}
}

// wait returns the edges since the last call. It sleeps, in Go's poller, only
// when no stream has a turn to come.
func (p *Pump) wait(events []unix.EpollEvent) (int, error) {
	p.mu.Lock()
	pending := len(p.queue) > 0
	p.mu.Unlock()
	var n int
	var failed error
	err := p.epRaw.Read(func(fd uintptr) bool {
		for {
			n, failed = unix.EpollWait(int(fd), events, 0)
			if failed != unix.EINTR {
				return n > 0 || failed != nil || pending
			}
		}
	})
	if err == nil {
		err = failed
	}
	return max(n, 0), err
}

// dispatch queues the streams that the events are for.
func (p *Pump) dispatch(events []unix.EpollEvent) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range events {
		ev := &events[i]
		w, ok := p.watches[uint64(uint32(ev.Fd))|uint64(uint32(ev.Pad))<<32]
		if !ok {
			continue // closed since the kernel reported it
		}
		if w.in != nil && ev.Events&(unix.EPOLLIN|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
			p.readyLocked(w.in)
		}
		if w.out != nil && ev.Events&(unix.EPOLLOUT|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
			p.readyLocked(w.out)
		}
	}
}

// readyLocked has s get a turn.
func (p *Pump) readyLocked(s *stream) {
	switch {
	case s.state == running:
		s.again = true
	case s.state == idle && s.alone:
		s.state = running
		go p.runAlone(s)
	case s.state == idle:
		s.state = queued
		p.queue = append(p.queue, s)
	}
}

// serve gives each queued stream one turn. Those that have more to do are
// queued again, behind those that wait() will find.
func (p *Pump) serve(gen uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for range len(p.queue) {
		if p.closed || p.gen != gen {
			break
		}
		s := p.queue[0]
		p.queue = p.queue[1:]
		if s.state != queued {
			continue // abandoned
		}
		s.state = running
		p.turn = s
		p.turns++
		p.armLocked()
		p.mu.Unlock()
		v := s.turn()
		p.mu.Lock()
		p.serveEndLocked(s, v, gen)
	}
	if len(p.queue) == 0 {
		p.queue = nil // or its array would remember the busiest moment for ever
	}
	return !p.closed && p.gen == gen
}

// serveEndLocked settles s. Where the loop was replaced during the turn, s
// stays with this goroutine until it has to wait.
func (p *Pump) serveEndLocked(s *stream, v verdict, gen uint64) {
	v = p.settleLocked(s, v)
	if v == end || p.gen != gen {
		p.mu.Unlock()
		if v == end {
			s.finish()
		} else if v == goOn {
			p.runAlone(s)
		}
		p.mu.Lock()
	} else if v == goOn {
		s.state = queued
		p.queue = append(p.queue, s)
	}
	if p.gen == gen {
		p.turn = nil
	}
}
