// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"fmt"
	"strings"
	"testing"
)

func testPool(chunks int) *ringPool { return &ringPool{most: chunks} }

// numbered is n lines of 16 bytes each, from the i-th on.
func numbered(i, n int) string {
	var b strings.Builder
	for ; n > 0; n-- {
		fmt.Fprintf(&b, "line %010d\n", i)
		i++
	}
	return b.String()
}

// empty reads all that a ring has.
func empty(r *ring) (text string, gaps uint64) {
	var b strings.Builder
	buf := make([]byte, 1000)
	for {
		n := r.peek(buf)
		if n == 0 {
			r.advance(0)
			return b.String(), gaps
		}
		b.Write(buf[:n])
		gaps += r.advance(n)
	}
}

func TestRingGivesBackWhatItGot(t *testing.T) {
	p := testPool(4)
	var lost uint64
	r := p.open(4*chunkSize, false, func(n uint64) { lost += n })
	for round := range 3 {
		want := numbered(round, 3*chunkSize/16-100*round)
		r.add([]byte(want))
		if got, gaps := empty(r); got != want || gaps != 0 || lost != 0 {
			t.Errorf("round %d: got %d bytes, gaps %d, lost %d, want %d bytes", round, len(got), gaps, lost, len(want))
		}
		if rings, bytes := p.state(); rings != 1 || bytes != 0 {
			t.Errorf("an empty ring: got %d rings with %d bytes, want one with none", rings, bytes)
		}
	}
}

// The oldest lines go, whole ones, and the one that was begun before is ended.
func TestRingDropsOldestLines(t *testing.T) {
	for _, mark := range []bool{false, true} {
		p := testPool(100)
		var lost uint64
		r := p.open(2*chunkSize, mark, func(n uint64) { lost += n })
		all := "rest of a line\n" + numbered(0, 5*chunkSize/16)
		for rest := all; rest != ""; {
			n := min(len(rest), 777)
			r.add([]byte(rest[:n]))
			rest = rest[n:]
		}
		got, gaps := empty(r)
		head, tail, _ := strings.Cut(got, "\n")
		if mark {
			want := fmt.Sprintf("[foundry: %d bytes lost while nobody read]\n", lost)
			if !strings.HasPrefix(tail, want) {
				t.Errorf("mark: got %.60q, want %q", tail, want)
			}
			tail = strings.TrimPrefix(tail, want)
		}
		if head != "rest of a line" || !strings.HasPrefix(tail, "line ") || !strings.HasSuffix(all, tail) {
			t.Errorf("got %.40q, then %.40q, not the end of what was added", head, tail)
		}
		if want := uint64(len(all) - len(head) - 1 - len(tail)); lost != want || gaps != want {
			t.Errorf("lost: got %d, gaps %d, want %d", lost, gaps, want)
		}
		if len(tail) < chunkSize-32 || len(tail) > 2*chunkSize {
			t.Errorf("kept %d bytes of a ring of %d", len(tail), 2*chunkSize)
		}
	}
}

// A line that fills its chunk leaves no gap; more than one of them must not
// be kept for the reader as the line that it has begun.
func TestRingOfLinesAsLongAsItsChunks(t *testing.T) {
	var lost uint64
	r := testPool(100).open(2*chunkSize, false, func(n uint64) { lost += n })
	line := strings.Repeat("x", chunkSize-1) + "\n"
	for range 100 {
		r.add([]byte(line))
	}
	if n := r.len(); n > 3*chunkSize || lost != uint64(100*chunkSize-n) {
		t.Errorf("two chunks and a begun line: got %d bytes, %d lost of %d", n, lost, 100*chunkSize)
	}
	if got, gaps := empty(r); gaps != lost || strings.Trim(got, "x\n") != "" || !strings.HasSuffix(got, line) {
		t.Errorf("emptied: got %d bytes and gaps %d, want gaps %d", len(got), gaps, lost)
	}
}

// When all memory is in use the largest ring that may lose pays, and one that
// may not lose has no room.
func TestRingsShareTheirMemory(t *testing.T) {
	p := testPool(8)
	var lost [3]uint64
	var rings [3]*ring
	for i := range rings {
		rings[i] = p.open(8*chunkSize, false, func(n uint64) { lost[i] += n })
	}
	rings[0].lossy.Store(true)
	rings[0].add([]byte(numbered(0, 8*chunkSize/16)))
	for range 3 {
		if got := rings[1].room(); got != chunkSize {
			t.Fatalf("room: got %d, want a chunk of the largest", got)
		}
		rings[1].add(make([]byte, chunkSize))
	}
	if lost[0] < 3*chunkSize-16 || lost[1] != 0 {
		t.Errorf("lost: got %v, want three chunks of the first", lost)
	}
	rings[0].lossy.Store(false)
	if got := rings[2].room(); got != 0 {
		t.Errorf("room without memory: got %d", got)
	}
	rings[2].add([]byte("nowhere to go"))
	if lost[2] != 13 {
		t.Errorf("lost: got %d, want what there was no memory for", lost[2])
	}
	if _, bytes := p.state(); bytes != 8*chunkSize {
		t.Errorf("memory: got %d, want %d", bytes, 8*chunkSize)
	}
	for _, r := range rings {
		r.close()
	}
	if rings, bytes := p.state(); rings != 0 || bytes != 0 {
		t.Errorf("after close: got %d rings, %d bytes", rings, bytes)
	}
}

// While the first chunk is being written out it is not taken away.
func TestRingInUseIsLeftAlone(t *testing.T) {
	p := testPool(2)
	r := p.open(2*chunkSize, false, func(uint64) {})
	r.lossy.Store(true)
	r.add([]byte(numbered(0, 2*chunkSize/16)))
	other := p.open(chunkSize, false, func(uint64) {})
	buf := make([]byte, 16)
	r.peek(buf)
	if got := other.room(); got != 0 {
		t.Errorf("room: got %d while the only other ring is in use", got)
	}
	r.advance(16)
	if got := other.room(); got != chunkSize {
		t.Errorf("room: got %d, want %d", got, chunkSize)
	}
}
