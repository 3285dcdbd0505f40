// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"testing"
)

// Whatever a process does with its streams, and however it is cut short:
// no descriptor and no goroutine stays.
func TestNothingLeaks(t *testing.T) {
	p := testPump(t)
	in, out, errw := fifo(t, "in"), fifo(t, "out"), fifo(t, "err")
	log := "file://" + t.TempDir() + "/log"
	runtime.GC() // descriptors of earlier tests
	fds, goroutines := countFDs(t), runtime.NumGoroutine()
	for i := range 500 {
		cfg := Config{Stdin: in, Stdout: out, Stderr: errw, Terminal: i%5 == 0, ContainerID: "c1"}
		if i%3 == 0 {
			cfg.Stdout, cfg.Stderr = log, log
		}
		x, err := p.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		var slave *os.File
		if cfg.Terminal {
			var master *os.File
			master, slave = openPty(t)
			if i%2 == 0 {
				err = x.Start(master)
			} else {
				master.Close()
			}
			slave.WriteString("x")
			slave.Close()
		} else if i%4 != 0 { // otherwise never started
			_, w, _ := x.Child()
			err = x.Start(nil)
			w.WriteString("x")
		}
		if err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			x.CloseStdin()
		}
		if i%7 == 0 {
			x.CloseChild()
		}
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "goroutines gone", func() bool { return runtime.NumGoroutine() <= goroutines })
	if got := countFDs(t); got > fds {
		t.Errorf("descriptors: got %d, want %d", got, fds)
	}
	if n := len(p.watches); n != 0 {
		t.Errorf("watches left: %d", n)
	}
}

// A process costs at most eight descriptors of ours, and those of an output
// only until its end.
func TestDescriptorBudget(t *testing.T) {
	p := testPump(t)
	cfg := Config{Stdin: fifo(t, "in"), Stdout: fifo(t, "out"), Stderr: fifo(t, "err")}
	reader(t, cfg.Stdout)
	reader(t, cfg.Stderr)
	before := countFDs(t)
	x := testOpen(t, p, cfg)
	start(t, x)
	if got := countFDs(t) - before - 3; got > 8 { // three are the process's
		t.Errorf("descriptors: got %d, want at most 8", got)
	}
	x.CloseChild()
	drain(t, x)
	eventually(t, "outputs released", func() bool { return countFDs(t)-before <= 2 })
}

// Many processes at once, all of them talking, some of them cut off.
func TestManyStreams(t *testing.T) {
	const n = 200
	p := testPump(t)
	var wg sync.WaitGroup
	for i := range n {
		cfg := Config{Stdin: fifo(t, "in"), Stdout: fifo(t, "out"), Stderr: fifo(t, "err")}
		wg.Go(func() {
			if err := talk(t, p, cfg, i); err != nil {
				t.Errorf("process %d: %v", i, err)
			}
		})
	}
	wg.Wait()
}

// talk plays a process that copies stdin to stdout and stderr.
func talk(t *testing.T, p *Pump, cfg Config, i int) error {
	x, err := p.Open(t.Context(), cfg)
	if err != nil {
		return err
	}
	defer x.Close()
	if err := x.Start(nil); err != nil {
		return err
	}
	in, out, errw := x.Child()
	go func() {
		io.Copy(io.MultiWriter(out, errw), in)
		x.CloseChild()
	}()
	text := fmt.Sprintf("%0*d", 1000*(i+1), i)
	w := writer(t, cfg.Stdin)
	go func() {
		w.WriteString(text)
		x.CloseStdin()
	}()
	if i%10 == 0 {
		return x.Close() // in the middle of it
	}
	ro, re := reader(t, cfg.Stdout), reader(t, cfg.Stderr)
	got := make(chan string)
	go func() { s, _ := io.ReadAll(re); got <- string(s) }()
	s, err := io.ReadAll(ro)
	if e := <-got; err != nil || string(s) != text || e != text {
		return fmt.Errorf("got %d and %d bytes, %v, want %d", len(s), len(e), err, len(text))
	}
	return x.Drain(t.Context())
}

// An idle pump does nothing at all: no timer, no queue.
func TestIdlePumpSleeps(t *testing.T) {
	p := testPump(t)
	path := fifo(t, "out")
	x := testOpen(t, p, Config{Stdout: path})
	start(t, x)
	_, out, _ := x.Child()
	write(t, out, "x")
	readN(t, reader(t, path), 1)
	eventually(t, "patrol ended", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return !p.armed && p.queue == nil && p.turn == nil
	})
}
