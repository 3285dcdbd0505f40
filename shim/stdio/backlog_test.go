// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

const testRing = 1 << 20

// keeping opens an IO whose stdout has a ring, and a reader that has come.
func keeping(t *testing.T, p *Pump, b Backlog) (x *IO, out *os.File, r *os.File, path string) {
	t.Helper()
	path = fifo(t, "stdout")
	r = reader(t, path)
	x = testOpen(t, p, Config{Stdout: path, Backlog: b})
	start(t, x)
	_, out, _ = x.Child()
	return x, out, r, path
}

// deserted is keeping whose reader has taken a byte and gone.
func deserted(t *testing.T, p *Pump, b Backlog) (x *IO, out *os.File, path string) {
	t.Helper()
	x, out, r, path := keeping(t, p, b)
	write(t, out, "x")
	readN(t, r, 1)
	r.Close()
	return x, out, path
}

// lines writes n numbered lines of 16 bytes to w, in pieces of 4 KiB.
func lines(w io.Writer, from, n int) error {
	const piece = 256
	for ; n > 0; n -= piece {
		if _, err := io.WriteString(w, numbered(from, min(n, piece))); err != nil {
			return err
		}
		from += piece
	}
	return nil
}

// gapOf checks that the n lines read are whole and in order and returns how many
// are missing.
func gapOf(t *testing.T, r io.Reader, n int) (missing int) {
	t.Helper()
	next := 0
	for s := bufio.NewScanner(r); s.Scan(); {
		var i int
		if k, err := fmt.Sscanf(s.Text(), "line %d", &i); k != 1 || err != nil || len(s.Text()) != 15 || i < next {
			t.Fatalf("got line %q after %d: %v", s.Text(), next-1, err)
		}
		missing += i - next
		next = i + 1
	}
	if next != n {
		t.Errorf("the last line: got %d, want %d", next-1, n-1)
	}
	return missing
}

// The reader goes: the process never waits. What is missing when it comes back
// is the oldest, in whole lines, and has been counted.
func TestAbsentReaderStopsNobody(t *testing.T) {
	p := testPump(t)
	x, out, r, path := keeping(t, p, Backlog{Bytes: testRing})
	write(t, out, numbered(0, 100))
	readN(t, r, 100*16)
	r.Close()
	const n = 16 << 20 / 16
	if err := lines(out, 0, n); err != nil { // in this goroutine: it would hang
		t.Fatal(err)
	}
	x.CloseChild()
	if s := p.Stats(); s.Rings != 1 || s.Kept > testRing {
		t.Errorf("stats: got %+v, want one ring of %d at most", s, testRing)
	}
	missing := gapOf(t, reader(t, path), n)
	lost := x.Lost().Stdout
	if missing == 0 || lost != uint64(missing)*16 || p.Stats().Lost != lost {
		t.Errorf("lost: got %d, stats %d, want %d", lost, p.Stats().Lost, missing*16)
	}
	if kept := n*16 - int(lost); kept < testRing-2*chunkSize {
		t.Errorf("kept %d bytes, want the ring's %d or so", kept, testRing)
	}
	drain(t, x)
	if s := p.Stats(); s.Rings != 0 || s.Kept != 0 {
		t.Errorf("after it was read: got %+v, want no ring", s)
	}
}

// What fits is there when a client comes back, however often one goes.
func TestAbsentReaderMissesNothing(t *testing.T) {
	p := testPump(t)
	x, out, r, path := keeping(t, p, Backlog{Bytes: testRing})
	const n, rounds = 500 << 10 / 16, 5
	var got strings.Builder
	for i := range rounds {
		if i == 0 { // it has been there
			lines(out, 0, 100)
			io.CopyN(&got, r, 16*100)
		}
		r.Close()
		if err := lines(out, i*n+got.Len()/16%n, n-got.Len()/16%n); err != nil { // more than both pipes hold
			t.Fatal(err)
		}
		if i == rounds-1 {
			x.CloseChild()
		}
		r = reader(t, path)
		if i < rounds-1 {
			io.CopyN(&got, r, int64((i+1)*n*16-got.Len()))
		}
	}
	io.Copy(&got, r)
	if missing := gapOf(t, strings.NewReader(got.String()), n*rounds); missing != 0 || x.Lost().Stdout != 0 {
		t.Errorf("missing %d lines, counted %d bytes, want none", missing, x.Lost().Stdout)
	}
	drain(t, x)
}

// A reader that is there but slow, and one that has never come, lose nothing:
// the process waits for them.
func TestSlowReaderLosesNothing(t *testing.T) {
	for _, there := range []bool{true, false} {
		t.Run(fmt.Sprint("there=", there), func(t *testing.T) {
			p := testPump(t)
			path := fifo(t, "stdout")
			var r *os.File
			if there {
				r = reader(t, path)
			}
			x := testOpen(t, p, Config{Stdout: path, Backlog: Backlog{Bytes: testRing}})
			start(t, x)
			_, out, _ := x.Child()
			const n = 4 << 20 / 16
			sent := make(chan error, 1)
			go func() { sent <- lines(out, 0, n); x.CloseChild() }()
			eventually(t, "fifo full", func() bool { return full(x.outputs[0].dst) })
			looked := time.Now().Add(3 * lossGrace)
			for time.Now().Before(looked) { // it is looked at many times meanwhile
				if s := p.Stats(); s.Rings != 0 || s.Lost != 0 {
					t.Fatalf("stats: got %+v, want no ring", s)
				}
				time.Sleep(stallFirst)
			}
			select {
			case <-sent:
				t.Fatal("the process did not wait")
			default:
			}
			if r == nil {
				r = reader(t, path)
			}
			if missing := gapOf(t, r, n); missing != 0 || x.Lost().Stdout != 0 {
				t.Errorf("missing %d lines, counted %d", missing, x.Lost().Stdout)
			}
			if err := <-sent; err != nil {
				t.Error(err)
			}
		})
	}
}

// With LossNever the ring is filled while nobody reads, and then the process
// waits; with LossFull it waits for nobody.
func TestLossPolicies(t *testing.T) {
	const n = 4 << 20 / 16
	t.Run("never", func(t *testing.T) {
		p := testPump(t)
		x, out, path := deserted(t, p, Backlog{Bytes: testRing, Loss: LossNever})
		sent := make(chan error, 1)
		go func() { sent <- lines(out, 0, n); x.CloseChild() }()
		eventually(t, "ring full", func() bool { return p.Stats().Kept >= testRing })
		if missing := gapOf(t, reader(t, path), n); missing != 0 || x.Lost().Stdout != 0 {
			t.Errorf("missing %d lines, counted %d", missing, x.Lost().Stdout)
		}
		if err := <-sent; err != nil {
			t.Error(err)
		}
	})
	t.Run("full", func(t *testing.T) {
		p := testPump(t)
		x, out, r, _ := keeping(t, p, Backlog{Bytes: testRing, Loss: LossFull})
		if err := lines(out, 0, n); err != nil {
			t.Fatal(err)
		}
		x.CloseChild()
		missing := gapOf(t, r, n)
		if lost := x.Lost().Stdout; missing == 0 || lost != uint64(missing)*16 {
			t.Errorf("lost: got %d, want %d", lost, missing*16)
		}
	})
}

// Loss is told of once its size is known.
func TestLossIsTold(t *testing.T) {
	p := testPump(t)
	path := fifo(t, "stdout")
	r := reader(t, path)
	told := make(chan uint64, 10)
	x := testOpen(t, p, Config{Stdout: path, Backlog: Backlog{Bytes: testRing, Mark: true},
		OnLoss: func(stream string, n uint64) { told <- n }})
	start(t, x)
	_, out, _ := x.Child()
	write(t, out, "x")
	readN(t, r, 1)
	r.Close()
	if err := lines(out, 0, 4<<20/16); err != nil {
		t.Fatal(err)
	}
	x.CloseChild()
	all := readAll(t, reader(t, path))
	if got, want := <-told, x.Lost().Stdout; got != want || !strings.Contains(all, string(lossMark(want))) {
		t.Errorf("told %d, want %d, and a mark of it", got, want)
	}
}

// A reader that keeps falling behind is told of now and then, and at last of
// everything.
func TestLossIsToldSeldom(t *testing.T) {
	p := testPump(t)
	path := fifo(t, "stdout")
	r := reader(t, path)
	told := make(chan uint64, 1000)
	x := testOpen(t, p, Config{Stdout: path, Backlog: Backlog{Bytes: 2 * chunkSize, Loss: LossFull},
		OnLoss: func(_ string, n uint64) { told <- n }})
	start(t, x)
	_, out, _ := x.Child()
	for i := range 20 {
		if err := lines(out, i, 1<<20/16); err != nil {
			t.Fatal(err)
		}
		readN(t, r, 100<<10) // past a gap
	}
	x.CloseChild()
	io.Copy(io.Discard, r)
	drain(t, x)
	var sum uint64
	n := 0
	for want := x.Lost().Stdout; sum < want; n++ {
		sum += <-told
	}
	if n > 5 {
		t.Errorf("told %d times", n)
	}
}

// The end of a process whose client has gone is told soon.
func TestSettleWithoutClient(t *testing.T) {
	p := testPump(t)
	x, out, _ := deserted(t, p, Backlog{Bytes: testRing})
	if err := lines(out, 0, 1<<20/16); err != nil {
		t.Fatal(err)
	}
	x.CloseChild()
	ctx := testContext(t)
	x.Settle(ctx)
	if ctx.Err() != nil {
		t.Error("waited for a client that has gone")
	}
}

// A terminal has a ring too.
func TestAbsentReaderOfTerminal(t *testing.T) {
	p := testPump(t)
	path := fifo(t, "stdout")
	r := reader(t, path)
	x := testOpen(t, p, Config{Stdout: path, Terminal: true, Backlog: Backlog{Bytes: testRing}})
	master, slave := openPty(t)
	makeRaw(t, slave)
	if err := x.Start(master); err != nil {
		t.Fatal(err)
	}
	write(t, slave, "x")
	readN(t, r, 1)
	r.Close()
	const n = 4 << 20 / 16
	if err := lines(slave, 0, n); err != nil {
		t.Fatal(err)
	}
	slave.Close()
	missing := gapOf(t, reader(t, path), n)
	if lost := x.Lost().Stdout; missing == 0 || lost != uint64(missing)*16 {
		t.Errorf("lost: got %d, want %d", lost, missing*16)
	}
}

// Many containers without a reader share the memory of all rings; none waits.
func TestRingsHaveOneBudget(t *testing.T) {
	const streams, budget = 40, 1 << 20
	p := testPump(t)
	p.rings.most = budget / chunkSize
	var wg sync.WaitGroup
	for range streams {
		_, out, _ := deserted(t, p, Backlog{Bytes: testRing})
		wg.Go(func() {
			if err := lines(out, 0, 2<<20/16); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if s := p.Stats(); s.Kept > budget || s.Lost == 0 {
		t.Errorf("stats: got %+v, want at most %d kept", s, budget)
	}
}

// What nobody reads, and a disk that stays full, do not hold Drain up.
func TestDrainDoesNotWaitForNobody(t *testing.T) {
	p := testPump(t)
	x, out, _ := deserted(t, p, Backlog{Bytes: testRing})
	if err := lines(out, 0, 1<<20/16); err != nil {
		t.Fatal(err)
	}
	x.CloseChild()
	wantStuck(t, x, "stdout: nobody reads it")
	if err := x.Close(); err != nil {
		t.Error(err)
	}
	if s := p.Stats(); s.Rings != 0 || s.Kept != 0 || s.Lost == 0 {
		t.Errorf("stats: got %+v, want the rest lost and no ring", s)
	}
}

func wantStuck(t *testing.T, x *IO, want string) {
	t.Helper()
	began := time.Now()
	if err := x.Drain(testContext(t)); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Drain: got %v, want %q", err, want)
	}
	if d := time.Since(began); d > 5*drainStuck {
		t.Errorf("Drain took %v", d)
	}
}
