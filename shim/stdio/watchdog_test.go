// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"fmt"
	"io"
	"os"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// faulty is memory whose last page does not come until it is released: any
// write(2) from there holds its pipe's lock meanwhile.
type faulty struct {
	fd  int
	mem []byte
}

const page = 4096

func newFaulty(t *testing.T, pages int) *faulty {
	t.Helper()
	fd, _, errno := unix.Syscall(unix.SYS_USERFAULTFD, unix.O_CLOEXEC|unix.O_NONBLOCK, 0, 0)
	if errno != 0 {
		t.Skipf("SKIPPED: userfaultfd: %v", errno)
	}
	f := &faulty{fd: int(fd)}
	t.Cleanup(func() { unix.Close(f.fd) })
	var err error
	if f.mem, err = unix.Mmap(-1, 0, (pages+1)*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS); err != nil {
		t.Fatal(err)
	}
	for i := range f.mem[:pages*page] {
		f.mem[i] = byte(i)
	}
	f.ioctl(t, 0xc018aa3f, []uint64{0xaa, 0, 0})                // UFFDIO_API
	f.ioctl(t, 0xc020aa00, []uint64{f.last(pages), page, 1, 0}) // UFFDIO_REGISTER, missing pages
	t.Cleanup(func() { f.mem = nil /* left mapped: a writer may be in it */ })
	return f
}

func (f *faulty) last(pages int) uint64 { return uint64(uintptr(unsafe.Pointer(&f.mem[pages*page]))) }

func (f *faulty) ioctl(t *testing.T, req uintptr, arg []uint64) {
	t.Helper()
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(f.fd), req, uintptr(unsafe.Pointer(&arg[0]))); errno != 0 {
		t.Skipf("SKIPPED: userfaultfd ioctl %#x: %v", req, errno)
	}
}

// touched reports whether somebody waits for the last page.
func (f *faulty) touched() bool {
	fds := []unix.PollFd{{Fd: int32(f.fd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n == 1 && fds[0].Revents == unix.POLLIN
}

func (f *faulty) release(t *testing.T) {
	t.Helper()
	f.ioctl(t, 0xc020aa04, []uint64{f.last(len(f.mem)/page - 1), page, 0, 0}) // UFFDIO_ZEROPAGE
}

// A process can have its pipe locked for as long as it likes. That stops its
// own output and nobody else's, time and again.
func TestStuckPipeStopsNoOther(t *testing.T) {
	p := testPump(t)
	bad := Config{Stdout: fifo(t, "bad")}
	x := testOpen(t, p, bad)
	start(t, x)
	_, out, _ := x.Child()
	good := Config{Stdout: fifo(t, "good")}
	y := testOpen(t, p, good)
	start(t, y)
	_, yout, _ := y.Child()
	yr := reader(t, good.Stdout)

	const pages = 33 // 16 in each pipe, one more to go before the bad one
	f := newFaulty(t, pages)
	written := make(chan error, 1)
	go func() {
		n, err := out.Write(f.mem)
		if err == nil && n != len(f.mem) {
			err = io.ErrShortWrite
		}
		out.Close()
		written <- err
	}()
	eventually(t, "both pipes full", func() bool {
		s := x.outputs[0]
		return s.dst.hold.unread() == 16*page && fullSource(s)
	})
	r := reader(t, bad.Stdout)
	got := readN(t, r, page)
	eventually(t, "refilled", func() bool { return full(x.outputs[0].dst) && fullSource(x.outputs[0]) })
	got += readN(t, r, page)
	eventually(t, "the writer at the bad page, with the lock", f.touched)
	stuck := func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.stuck.Load() > 0
	}
	for i := 0; i < 100 || !stuck() && i < 100_000; i++ {
		if i == 50 {
			got += readN(t, r, page) // an edge: the pump takes a turn, and hangs
		}
		line := fmt.Sprintf("line %d\n", i)
		write(t, yout, line)
		if s := readN(t, yr, len(line)); s != line {
			t.Fatalf("got %q, want %q", s, line)
		}
	}
	if !stuck() {
		t.Error("the pump did not hang: this test tests nothing")
	}
	f.release(t)
	got += readAll(t, r)
	if err := <-written; err != nil {
		t.Error(err)
	}
	if got != string(f.mem) {
		t.Errorf("got %d bytes, want %d", len(got), len(f.mem))
	}
	x.CloseChild()
	drain(t, x)
}

// fullSource reports whether the process of s blocks, without its pipe's lock.
func fullSource(s *stream) bool {
	f, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", s.src.fd), os.O_WRONLY, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	raw, _ := f.SyscallConn()
	isFull := false
	raw.Control(func(fd uintptr) { isFull = full(&file{fd: int(fd)}) })
	return isFull
}
