// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// The benches compare the pump with what containerd's runc shim does: one
// goroutine and one 32 KiB buffer for each stream. Quote ratios of one run.

// line is one output of one process.
type line struct {
	w    *os.File // the process's end
	path string   // the client's fifo
}

// carriers make n lines.
func carriers() map[string]func(b *testing.B, n int) []line {
	return map[string]func(b *testing.B, n int) []line{"pump": pumpLines, "iocopy": copyLines}
}

func pumpLines(b *testing.B, n int) []line {
	p := testPump(b)
	var lines []line
	for range n {
		path := fifo(b, "out")
		x, err := p.Open(b.Context(), Config{Stdout: path, Backlog: Backlog{Bytes: 1 << 20}}) // as the shim has it
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { x.Close() })
		start(b, x)
		_, out, _ := x.Child()
		lines = append(lines, line{out, path})
	}
	return lines
}

func copyLines(b *testing.B, n int) []line {
	var lines []line
	for range n {
		path := fifo(b, "out")
		var wg sync.WaitGroup
		cfg := Config{}
		src, w, err := cfg.makePipe("stdout", false)
		if err != nil {
			b.Fatal(err)
		}
		r := os.NewFile(uintptr(src.fd), "pipe")
		dst, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { w.Close(); wg.Wait(); r.Close(); dst.Close() })
		wg.Go(func() {
			// Without ReadFrom and WriteTo, as behind the fifo package.
			io.CopyBuffer(struct{ io.Writer }{dst}, struct{ io.Reader }{r}, make([]byte, 32<<10))
		})
		lines = append(lines, line{w, path})
	}
	return lines
}

// swallow reads n bytes of a fifo without touching them.
func swallow(path string, n int) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	null, err := unix.Open("/dev/null", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(null)
	for n > 0 {
		got, err := unix.Splice(fd, nil, null, nil, min(n, 1<<20), 0)
		if err != nil && err != unix.EINTR {
			return err
		}
		n -= int(max(got, 0))
	}
	return nil
}

func BenchmarkThroughput(b *testing.B) {
	const chunk = 64 << 10
	for _, n := range []int{1, 100} {
		for name, make := range carriers() {
			b.Run(fmt.Sprintf("%s/streams=%d", name, n), func(b *testing.B) {
				lines := make(b, n)
				b.SetBytes(int64(chunk * n))
				runBoth(b, lines, chunk)
			})
		}
	}
}

// runBoth writes b.N chunks into each line, and reads them.
func runBoth(b *testing.B, lines []line, chunk int) {
	var wg sync.WaitGroup
	data := make([]byte, chunk)
	b.ResetTimer()
	cpu := cpuTime()
	for _, l := range lines {
		wg.Go(func() {
			for range b.N {
				if _, err := l.w.Write(data); err != nil {
					b.Error(err)
					return
				}
			}
		})
		wg.Go(func() {
			if err := swallow(l.path, b.N*chunk); err != nil {
				b.Error(err)
			}
		})
	}
	wg.Wait()
	b.ReportMetric((cpuTime()-cpu)/float64(b.N*len(lines)*chunk)*(1<<30), "cpu-s/GiB")
}

func cpuTime() float64 {
	var ru unix.Rusage
	unix.Getrusage(unix.RUSAGE_SELF, &ru)
	return float64(ru.Utime.Nano()+ru.Stime.Nano()) / 1e9
}

// BenchmarkLine is the way of one short line to a client that waits for it.
func BenchmarkLine(b *testing.B) {
	for name, make := range carriers() {
		b.Run(name, func(b *testing.B) {
			l := make(b, 1)[0]
			fd, err := unix.Open(l.path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				b.Fatal(err)
			}
			defer unix.Close(fd)
			text := []byte("a short line of output\n")
			buf := [4096]byte{}
			cpu := cpuTime()
			for b.Loop() {
				l.w.Write(text)
				if n, err := unix.Read(fd, buf[:]); n != len(text) || err != nil {
					b.Fatalf("read: got %d, %v", n, err)
				}
			}
			b.ReportMetric((cpuTime()-cpu)*1e9/float64(b.N), "cpu-ns/op")
		})
	}
}

// BenchmarkMemory is the memory of a thousand streams that wait.
func BenchmarkMemory(b *testing.B) {
	const n = 1000
	for name, make := range carriers() {
		b.Run(name, func(b *testing.B) {
			for range b.N {
				before := memory()
				lines := make(b, n)
				for _, l := range lines {
					l.w.Write([]byte("x"))
				}
				b.ReportMetric(float64(memory()-before)/n, "B/stream")
				runtime.KeepAlive(lines)
			}
		})
	}
}

// memory is what heap and stacks hold after a collection.
func memory() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}
