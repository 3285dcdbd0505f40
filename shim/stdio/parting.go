// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

const (
	partingFirst = time.Millisecond
	partingMost  = 100 * time.Millisecond
	partingTime  = 30 * time.Second // a client that is later than this is not coming
)

// parting is an output's fifo whose process has ended before its client has
// opened it. Clients open their fifos in the background, and an open for
// reading waits for a writer: if we closed now, it would wait for ever. The
// kernel tells nobody that a reader has come, so we look.
type parting struct {
	io    *IO
	fifo  *file // nil once it is over
	timer *time.Timer
	delay time.Duration
	since time.Time
}

// part takes leave of an output's fifo, whose process writes nothing more:
// now, if a client has it open, else when one comes. Bytes that nobody has
// read yet are kept for a client that comes back.
func (io *IO) part(fifo *file) {
	fifo.hold.unref() // or we would be the reader that we look for
	fifo.hold = nil
	here, unread := fifo.hasReader(), fifo.unread() > 0
	io.mu.Lock()
	defer io.mu.Unlock()
	switch {
	case io.closed:
	case here:
		io.keepLocked(fifo, unread)
	default:
		p := &parting{io: io, fifo: fifo.ref(), delay: partingFirst, since: time.Now()}
		p.timer = time.AfterFunc(p.delay, p.look)
		io.partings = append(io.partings, p)
	}
}

// look ends the parting when somebody has come, or nobody will.
func (p *parting) look() {
	p.io.mu.Lock()
	fifo := p.fifo
	if fifo == nil {
		p.io.mu.Unlock()
		return
	}
	fifo.ref() // for looks at the fifo, which may hang, without the lock
	p.io.mu.Unlock()
	over := fifo.hasReader() || time.Since(p.since) > partingTime
	unread := fifo.unread() > 0
	p.io.mu.Lock()
	defer p.io.mu.Unlock()
	defer fifo.unref()
	switch {
	case p.fifo == nil:
	case over:
		p.io.keepLocked(fifo, unread)
		p.endLocked()
	default:
		p.delay = min(2*p.delay, partingMost)
		p.timer.Reset(p.delay)
	}
}

// endLocked closes the fifo for writing.
func (p *parting) endLocked() error {
	p.timer.Stop()
	err := p.fifo.unref()
	p.fifo = nil
	p.io.partings = slices.DeleteFunc(p.io.partings, func(q *parting) bool { return q == p })
	return err
}

// keepLocked keeps what is unread in a fifo that we close for writing.
func (io *IO) keepLocked(fifo *file, unread bool) {
	if !unread {
		return
	}
	fd, err := open(fmt.Sprintf("/proc/self/fd/%d", fifo.fd), unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return // as with any other shim: the client that is there has it open
	}
	io.kept = append(io.kept, newFile(fd, fifo.path))
}

// hasReader reports whether anybody can read what is written to a fifo.
func (f *file) hasReader() bool {
	p := []unix.PollFd{{Fd: int32(f.fd)}}
	_, err := again(func() (int, error) { return unix.Poll(p, 0) })
	return err == nil && p[0].Revents&unix.POLLERR == 0
}
