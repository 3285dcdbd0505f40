// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// chunkSize is what rings grow and shrink by: a small ring costs little, and
// what has been delivered is given back at once.
const chunkSize = 64 << 10

// ring keeps the output of one stream while nobody takes it. When it is full
// and may lose, the oldest whole lines go: what was written last explains
// best what has happened meanwhile. The line that the reader has seen begun
// is kept to its end.
//
//	[lead][gap][chunk: read from head ...][chunk]...[chunk: written at tail ...]
//
// Its stream is the only reader and writer, but a ring that wants memory may
// take it from another.
type ring struct {
	pool *ringPool
	most int            // chunks
	mark bool           // tell of a gap among the bytes
	lose func(n uint64) // counts

	lossy atomic.Bool  // others may take the oldest
	size  atomic.Int32 // chunks, for those who look for the largest

	mu     sync.Mutex // guards what follows; nothing is waited for under it
	chunks [][]byte
	head   int    // in the first chunk
	tail   int    // in the last chunk
	lead   []byte // comes before the gap
	gap    uint64 // bytes dropped between lead and the chunks
	busy   bool   // between peek and advance: the first chunk is being written out
}

// ringPool is the memory of all rings.
type ringPool struct {
	most int // chunks

	mu    sync.Mutex // guards what follows; taken before any ring's mu
	used  int
	rings []*ring
}

// open makes an empty ring that costs nothing yet.
func (p *ringPool) open(limit int, mark bool, lose func(n uint64)) *ring {
	r := &ring{pool: p, most: max(1, (limit+chunkSize-1)/chunkSize), mark: mark, lose: lose}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rings = append(p.rings, r)
	return r
}

// state returns how many rings there are, and their memory in bytes.
func (p *ringPool) state() (rings, bytes int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.rings), p.used * chunkSize
}

// take returns a chunk, or nil when there is none left. Before that the
// largest ring that may lose gives up its oldest, so that the first to come
// do not have everything.
func (p *ringPool) take(r *ring) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.used >= p.most {
		largest := r.size.Load() + 1
		var victim *ring
		for _, v := range p.rings {
			if n := v.size.Load(); v != r && v.lossy.Load() && n > largest {
				victim, largest = v, n
			}
		}
		if victim == nil {
			return nil
		}
		return victim.yield()
	}
	c, err := unix.Mmap(-1, 0, chunkSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil
	}
	p.used++
	return c
}

func (p *ringPool) giveLocked(c []byte) {
	unix.Munmap(c) // the only error is that it is no mapping
	p.used--
}

// close gives everything back and returns how many bytes were in the ring, and
// the gap that no reader has passed.
func (r *ring) close() (n int, gap uint64) {
	r.pool.mu.Lock()
	defer r.pool.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	n, gap = r.lenLocked(), r.gap
	for _, c := range r.chunks {
		r.pool.giveLocked(c)
	}
	r.chunks, r.lead = nil, nil
	r.size.Store(0)
	r.pool.rings = slices.DeleteFunc(r.pool.rings, func(x *ring) bool { return x == r })
	return n, gap
}

// yield gives up the oldest chunk to another ring; nil if it is in use.
func (r *ring) yield() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.busy || len(r.chunks) < 2 {
		return nil
	}
	return r.dropLocked()
}

func (r *ring) len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lenLocked()
}

func (r *ring) lenLocked() int {
	n := len(r.lead)
	if len(r.chunks) > 0 {
		n += (len(r.chunks)-1)*chunkSize + r.tail - r.head
	}
	return n
}

// room returns how many bytes can be added now without dropping any.
func (r *ring) room() int {
	r.mu.Lock()
	n, room := len(r.chunks), 0
	if n > 0 {
		room = chunkSize - r.tail
	}
	r.mu.Unlock()
	if room > 0 || n >= r.most {
		return room
	}
	c := r.pool.take(r) // not under mu: it looks at other rings
	if c == nil {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.growLocked(c)
	return chunkSize
}

func (r *ring) growLocked(c []byte) {
	if len(r.chunks) == 0 {
		r.head = 0
	}
	r.chunks, r.tail = append(r.chunks, c), 0
	r.size.Store(int32(len(r.chunks)))
}

// add appends b. Where there is no room it drops the oldest: the caller has
// asked room() unless that is allowed.
func (r *ring) add(b []byte) {
	for len(b) > 0 {
		if r.room() == 0 {
			r.mu.Lock()
			if len(r.chunks) == 0 { // not even one chunk: b is what has to go
				r.loseLocked(b)
				r.mu.Unlock()
				return
			}
			c := r.dropLocked()
			r.growLocked(c)
			r.mu.Unlock()
		}
		r.mu.Lock()
		n := copy(r.chunks[len(r.chunks)-1][r.tail:], b)
		r.tail += n
		r.mu.Unlock()
		b = b[n:]
	}
}

// dropLocked drops the oldest chunk and what follows of its last line, and
// returns its memory.
func (r *ring) dropLocked() []byte {
	first := r.chunks[0]
	data := r.firstLocked()
	if i := bytes.IndexByte(data, '\n'); r.gap == 0 && len(r.lead) == 0 && i >= 0 { // once: a line may fill its chunk and leave no gap
		r.lead = bytes.Clone(data[:i+1])
		data = data[i+1:]
	}
	r.loseLocked(data)
	r.chunks = slices.Delete(r.chunks, 0, 1)
	r.size.Store(int32(len(r.chunks)))
	r.head = 0
	if len(r.chunks) == 0 {
		r.tail = 0
		return first
	}
	rest := r.firstLocked()
	if i := bytes.IndexByte(rest, '\n'); i >= 0 && len(data) > 0 && !bytes.HasSuffix(data, []byte{'\n'}) {
		r.loseLocked(rest[:i+1])
		r.head = i + 1
	}
	return first
}

func (r *ring) loseLocked(b []byte) {
	r.gap += uint64(len(b))
	r.lose(uint64(len(b)))
}

// firstLocked is what is unread of the first chunk.
func (r *ring) firstLocked() []byte {
	if len(r.chunks) == 1 {
		return r.chunks[0][r.head:r.tail]
	}
	return r.chunks[0][r.head:]
}

// peek copies the oldest bytes to buf, which must have room for a mark. Until
// advance they are not dropped.
func (r *ring) peek(buf []byte) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.busy = true
	switch {
	case len(r.lead) > 0:
		return copy(buf, r.lead)
	case r.gap > 0 && r.mark:
		return copy(buf, lossMark(r.gap))
	case len(r.chunks) == 0:
		return 0
	}
	return copy(buf, r.firstLocked())
}

// advance removes the n oldest bytes, which have been written out, and
// returns the size of the gap that the reader has passed with them.
func (r *ring) advance(n int) (gap uint64) {
	r.pool.mu.Lock()
	defer r.pool.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.busy = false
	switch {
	case n == 0:
		return 0
	case len(r.lead) > 0:
		r.lead = r.lead[n:]
		return 0
	}
	gap, r.gap = r.gap, 0
	if gap > 0 && r.mark {
		r.lead = lossMark(gap)[n:]
		return gap
	}
	r.head += n
	if len(r.firstLocked()) == 0 {
		r.pool.giveLocked(r.chunks[0])
		r.chunks = slices.Delete(r.chunks, 0, 1)
		r.size.Store(int32(len(r.chunks)))
		r.head = 0
	}
	return gap
}

// lossMark is what a reader finds in the place of n lost bytes.
func lossMark(n uint64) []byte {
	return fmt.Appendf(nil, "[foundry: %d bytes lost while nobody read]\n", n)
}
