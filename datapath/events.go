// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"foundry/bpf"
)

// Drop is a frame that a program has dropped.
type Drop struct {
	Time       time.Time
	Reason     string
	Line       uint32 // of the program
	Ifindex    int    // where it was dropped
	VNI        uint32
	Endpoint   uint32 // whose sender's, as in counters; 0: none, the uplink
	Len        uint32 // of the frame as it came
	Suppressed uint32 // like it, before it, that the program told nobody of
	Head       []byte // first bytes of the frame
}

// queuedDrops are kept for a reader who is slower than the programs.
const queuedDrops = 1024

// Drops reads what the programs drop, from its making on. Of a reason they
// report a few a second; all are counted (Counters).
type Drops struct {
	feed  *feed
	queue chan Drop
	mu    sync.Mutex
	lost  uint64
	err   error // why queue was closed
}

// Next waits for a drop. lost are those before it that came faster than they
// were read.
func (r *Drops) Next(ctx context.Context) (drop Drop, lost uint64, err error) {
	select {
	case drop, ok := <-r.queue:
		r.mu.Lock()
		defer r.mu.Unlock()
		lost, r.lost = r.lost, 0
		if !ok {
			return Drop{}, lost, r.err
		}
		return drop, lost, nil
	case <-ctx.Done():
		return Drop{}, 0, ctx.Err()
	}
}

// Waiting returns a drop if there is one.
func (r *Drops) Waiting() (drop Drop, ok bool) {
	select {
	case drop, ok = <-r.queue:
	default:
	}
	return drop, ok
}

// Close ends the reading.
func (r *Drops) Close() { r.feed.leave(r) }

func (r *Drops) put(d Drop) {
	select {
	case r.queue <- d:
	default:
		r.mu.Lock()
		r.lost++
		r.mu.Unlock()
	}
}

// feed hands the drops of one ring to all who read them: a ring has one reader
// only. It is open while somebody reads.
type feed struct {
	mu      sync.Mutex // the set of readers and the ring change together
	readers map[*Drops]bool
	ring    *ringbuf.Reader
}

// Drops begins to read what is dropped; the caller closes it.
func (d *Datapath) Drops() (*Drops, error) { return d.drops.join(d.tc.Maps["events"]) }

// join adds a reader.
func (f *feed) join(events *ebpf.Map) (*Drops, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ring == nil {
		if err := f.openLocked(events); err != nil {
			return nil, err
		}
	}
	r := &Drops{feed: f, queue: make(chan Drop, queuedDrops)}
	f.readers[r] = true
	return r, nil
}

// openLocked opens the ring, and forgets what came before anybody read it.
func (f *feed) openLocked(events *ebpf.Map) error {
	names, err := readNames()
	if err != nil {
		return err
	}
	ring, err := ringbuf.NewReader(events)
	if err != nil {
		return fmt.Errorf("read drops: %w", err)
	}
	ring.SetDeadline(time.Now())
	var old ringbuf.Record
	for err == nil {
		err = ring.ReadInto(&old)
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return errors.Join(fmt.Errorf("read drops: %w", err), ring.Close())
	}
	ring.SetDeadline(time.Time{})
	f.ring, f.readers = ring, map[*Drops]bool{}
	go f.pump(ring, names)
	return nil
}

// leave removes a reader, and closes the ring after the last.
func (f *feed) leave(r *Drops) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.readers[r] {
		return
	}
	delete(f.readers, r)
	r.err = os.ErrClosed
	close(r.queue)
	if len(f.readers) == 0 && f.ring != nil {
		f.ring.Close() // its only reader ends with it
		f.ring = nil
	}
}

// pump reads the ring until it is closed.
func (f *feed) pump(ring *ringbuf.Reader, names bpf.Names) {
	var record ringbuf.Record
	for {
		err := ring.ReadInto(&record)
		if err != nil {
			f.end(ring, fmt.Errorf("read drops: %w", err))
			return
		}
		drop, err := newDrop(record.RawSample, names)
		if err != nil {
			f.end(ring, err)
			return
		}
		f.mu.Lock()
		if f.ring == ring {
			for r := range f.readers {
				r.put(drop)
			}
		}
		f.mu.Unlock()
	}
}

// end tells all readers of a ring that there will be nothing more.
func (f *feed) end(ring *ringbuf.Reader, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ring != ring {
		return // closed by leave
	}
	for r := range f.readers {
		r.err = err
		close(r.queue)
	}
	clear(f.readers)
	f.ring.Close()
	f.ring = nil
}

// close ends the reading of all.
func (f *feed) close() {
	f.mu.Lock()
	ring := f.ring
	f.mu.Unlock()
	if ring != nil {
		f.end(ring, os.ErrClosed)
	}
}

func newDrop(sample []byte, names bpf.Names) (Drop, error) {
	var e bpf.Event
	if err := binary.Read(bytes.NewReader(sample), binary.NativeEndian, &e); err != nil {
		return Drop{}, fmt.Errorf("read drop of %d bytes: %w", len(sample), err)
	}
	reason, known := names.Reasons[e.Reason]
	if !known {
		reason = fmt.Sprintf("reason_%d", e.Reason)
	}
	return Drop{
		Time: wallClock(e.Time), Reason: reason, Line: e.Line, Ifindex: int(e.Ifindex), VNI: e.Vni, Endpoint: e.Endpoint,
		Len: e.Len, Suppressed: e.Suppressed, Head: bytes.Clone(e.Data[:min(e.Captured, uint32(len(e.Data)))]),
	}, nil
}

// wallClock turns the kernel's monotonic time into the time of day.
func wallClock(ns uint64) time.Time {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return time.Now()
	}
	return time.Now().Add(-time.Duration(now.Nano() - int64(ns)))
}
