// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

func testPump(t testing.TB) *Pump {
	t.Helper()
	p, err := NewPump(PumpConfig{LoggerStop: 6 * time.Second, Retry: 5 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		if n := p.Stats().Streams; n != 0 {
			t.Errorf("streams left open: got %d, want 0", n)
		}
	})
	return p
}

func testOpen(t testing.TB, p *Pump, cfg Config) *IO {
	t.Helper()
	cfg.ContainerID, cfg.Namespace = "c1", "ns1"
	x, err := p.Open(testContext(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.Close() })
	return x
}

func start(t testing.TB, x *IO) {
	t.Helper()
	if err := x.Start(nil); err != nil {
		t.Fatal(err)
	}
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func drain(t testing.TB, x *IO) {
	t.Helper()
	if err := x.Drain(testContext(t)); err != nil {
		t.Fatal(err)
	}
}

func fifo(t testing.TB, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// client opens a fifo as containerd's client library does: at once, and in
// Go's poller, so that deadlines work.
func client(t testing.TB, path string, flag int) *os.File {
	t.Helper()
	fd, err := unix.Open(path, flag|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), path)
	if err := f.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func reader(t testing.TB, path string) *os.File { return client(t, path, unix.O_RDONLY) }
func writer(t testing.TB, path string) *os.File { return client(t, path, unix.O_WRONLY) }

// read1 reads exactly n bytes.
func readN(t testing.TB, r io.Reader, n int) string {
	t.Helper()
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		t.Fatalf("read %d bytes: %v", n, err)
	}
	return string(b)
}

func readAll(t testing.TB, r io.Reader) string {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func write(t testing.TB, w io.Writer, s string) {
	t.Helper()
	if _, err := io.WriteString(w, s); err != nil {
		t.Fatal(err)
	}
}

// eventually looks until cond holds: for what the kernel tells nobody.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !cond(); {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, patience)
		}
		runtime.Gosched()
	}
}

func countFDs(t testing.TB) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

// full reports whether a fifo takes nothing more.
func full(f *file) bool {
	fds := []unix.PollFd{{Fd: int32(f.fd), Events: unix.POLLOUT}}
	unix.Poll(fds, 0)
	return fds[0].Revents&unix.POLLOUT == 0
}
