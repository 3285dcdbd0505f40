// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// amount is how much the byte-exact tests carry: 64 MiB, or 1 GiB for
// FOUNDRY_STDIO_LARGE=1.
func amount() int64 {
	if os.Getenv("FOUNDRY_STDIO_LARGE") != "" {
		return 1 << 30
	}
	return 64 << 20
}

// blurt writes n pseudo-random bytes in pieces of all sizes and closes w.
// It returns their hash.
func blurt(w io.WriteCloser, n int64, seed byte) (string, error) {
	defer w.Close()
	h := sha256.New()
	src := rand.NewChaCha8([32]byte{seed})
	rnd := rand.New(rand.NewPCG(uint64(seed), 1))
	buf := make([]byte, 200<<10)
	for n > 0 {
		b := buf[:min(n, 1+rnd.Int64N(int64(len(buf)-1)))]
		src.Read(b)
		h.Write(b)
		if _, err := w.Write(b); err != nil {
			return "", err
		}
		n -= int64(len(b))
	}
	return fmt.Sprintf("%x", h.Sum(nil)), nil
}

type sum struct {
	hash string
	err  error
}

func hashOf(r io.Reader) sum {
	h := sha256.New()
	_, err := io.Copy(h, r)
	return sum{fmt.Sprintf("%x", h.Sum(nil)), err}
}

func TestFifosAreByteExact(t *testing.T) {
	p := testPump(t)
	cfg := Config{Stdout: fifo(t, "stdout"), Stderr: fifo(t, "stderr")}
	x := testOpen(t, p, cfg)
	start(t, x)
	_, out, errw := x.Child()
	got, want := make(chan sum, 2), make(chan sum, 2)
	for i, s := range []struct {
		path string
		w    *os.File
	}{{cfg.Stdout, out}, {cfg.Stderr, errw}} {
		r := reader(t, s.path)
		r.SetDeadline(time.Time{})
		done := make(chan sum, 1)
		go func() {
			hash, err := blurt(s.w, amount(), byte(i))
			done <- sum{hash, err}
		}()
		go func() {
			g := hashOf(r)
			w := <-done
			got <- g
			want <- w
		}()
	}
	for range 2 {
		if g, w := <-got, <-want; g != w || w.err != nil {
			t.Errorf("hash: got %v, want %v", g, w)
		}
	}
	drain(t, x)
	if s := p.Stats(); s.Moved != uint64(2*amount()) || s.Lost != 0 {
		t.Errorf("stats: got %+v, want moved %d, lost 0", s, 2*amount())
	}
}

func TestFifoReaderComesBack(t *testing.T) {
	p := testPump(t)
	cfg := Config{Stdout: fifo(t, "stdout")}
	x := testOpen(t, p, cfg)
	start(t, x)
	_, out, _ := x.Child()
	const n = 4 << 20
	sent := make(chan sum, 1)
	go func() {
		hash, err := blurt(out, n, 7)
		sent <- sum{hash, err}
	}()
	h := sha256.New()
	total := int64(0)
	for total < n { // a client that dies after every 100,000 bytes
		r := reader(t, cfg.Stdout)
		got, err := io.CopyN(h, r, min(100_000, n-total))
		if err != nil {
			t.Fatal(err)
		}
		total += got
		r.Close()
	}
	want := <-sent
	if got := fmt.Sprintf("%x", h.Sum(nil)); got != want.hash || want.err != nil {
		t.Errorf("hash: got %s, want %v", got, want)
	}
	drain(t, x)
}

// Bytes that were in the fifo when the process ended are there for a client
// that comes later, followed by the end.
func TestFifoKeepsLastWords(t *testing.T) {
	p := testPump(t)
	cfg := Config{Stdout: fifo(t, "stdout")}
	x := testOpen(t, p, cfg)
	start(t, x)
	_, out, _ := x.Child()
	write(t, out, "last words")
	x.CloseChild()
	drain(t, x)
	if got, want := readAll(t, reader(t, cfg.Stdout)), "last words"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestFifoBackPressure(t *testing.T) {
	p := testPump(t)
	cfg := Config{Stdout: fifo(t, "stdout"), Stderr: fifo(t, "stderr")}
	x := testOpen(t, p, cfg)
	start(t, x)
	_, out, errw := x.Child()
	const n = 1 << 20
	sent := make(chan sum, 1)
	go func() {
		hash, err := blurt(out, n, 3)
		sent <- sum{hash, err}
	}()
	// Nobody reads stdout: it stops when both pipes are full.
	eventually(t, "stdout full", func() bool { return full(x.outputs[0].dst) })
	r := reader(t, cfg.Stderr)
	for i := range 1000 { // other streams go on
		line := fmt.Sprintf("line %d\n", i)
		write(t, errw, line)
		if got := readN(t, r, len(line)); got != line {
			t.Fatalf("got %q, want %q", got, line)
		}
	}
	select {
	case <-sent:
		t.Fatal("writer did not block")
	default:
	}
	if moved := p.Stats().Moved; moved > n/2 {
		t.Errorf("moved %d bytes into a fifo that nobody reads", moved)
	}
	got := make(chan sum, 1)
	go func() { got <- hashOf(reader(t, cfg.Stdout)) }()
	if g, w := <-got, <-sent; g != w {
		t.Errorf("hash: got %v, want %v", g, w)
	}
	x.CloseChild()
	drain(t, x)
}

// A grandchild that keeps the pipe open delays neither Close nor, beyond its
// context, Drain; what it had written is counted.
func TestGrandchildHoldsPipe(t *testing.T) {
	p := testPump(t)
	x := testOpen(t, p, Config{Stdout: fifo(t, "stdout")})
	start(t, x)
	_, out, _ := x.Child()
	fd, err := dupOf(out)
	if err != nil {
		t.Fatal(err)
	}
	grandchild := os.NewFile(uintptr(fd), "grandchild")
	defer grandchild.Close()
	x.CloseChild()
	ctx, cancel := context.WithCancel(testContext(t))
	cancel()
	if err := x.Drain(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Drain: got %v, want %v", err, context.Canceled)
	}
	// More than the fifo takes: the rest is lost with Close.
	total := 0
	unix.SetNonblock(fd, true)
	eventually(t, "pipes full", func() bool {
		n, err := unix.Write(fd, make([]byte, 4096))
		total += max(n, 0)
		return err == unix.EAGAIN && x.outputs[0].dst.hold.unread()+x.outputs[0].src.unread() == total &&
			x.outputs[0].dst.unread() == 64<<10
	})
	if err := x.Close(); err != nil {
		t.Error(err)
	}
	if s := p.Stats(); s.Lost != uint64(total-64<<10) || s.Streams != 0 {
		t.Errorf("stats: got %+v, want lost %d of %d", s, total-64<<10, total)
	}
	if _, err := unix.Write(fd, []byte("x")); err != unix.EPIPE {
		t.Errorf("write after Close: got %v, want %v", err, unix.EPIPE)
	}
}

func TestPlainPathsAndErrors(t *testing.T) {
	p := testPump(t)
	dir := t.TempDir()
	for _, tt := range []struct {
		cfg  Config
		want string
	}{
		{Config{Stdout: dir + "/absent"}, "no such file"},
		{Config{Stdin: dir + "/absent"}, "no such file"},
		{Config{Stdin: dir}, "is a directory"},
		{Config{Stdin: "file:///x"}, "not a fifo"},
		{Config{Stdin: "/dev/null"}, "not a fifo"},
		{Config{Stdout: "foo://x"}, "scheme foo not supported"},
		{Config{Stderr: "binary:///x"}, "the same URI"},
		{Config{Stdout: "binary:///x", Stderr: fifo(t, "e")}, "the same URI"},
		{Config{Stdout: "binary:///x", Stderr: "binary:///x"}, "nobody to start it"},
		{Config{Stdin: fifo(t, "in"), Stdout: fifo(t, "out"), Stderr: dir + "/absent"}, "no such file"},
	} {
		tt.cfg.ContainerID = "c1"
		_, err := p.Open(testContext(t), tt.cfg)
		if err == nil || !contains(err.Error(), tt.want, `open stdio of "c1": `) {
			t.Errorf("%+v: got error %v, want %q", tt.cfg, err, tt.want)
		}
	}
}

func TestNullStreams(t *testing.T) {
	p := testPump(t)
	x := testOpen(t, p, Config{})
	start(t, x)
	if in, out, errw := x.Child(); in != nil || out != nil || errw != nil {
		t.Errorf("child's ends: got %v %v %v, want none", in, out, errw)
	}
	for _, err := range []error{x.CloseStdin(), x.CloseChild(), x.Drain(testContext(t)), x.Close(), x.Close()} {
		if err != nil {
			t.Error(err)
		}
	}
	if err := x.Start(nil); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Start after Close: got %v", err)
	}
	if err := x.Resize(1, 1); err == nil {
		t.Error("Resize without a terminal: no error")
	}
}
