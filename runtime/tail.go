// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// tail keeps the end of what a helper writes. The helper gets w, the write end
// of a pipe. It may leave children behind that hold w open, so the helper's
// exit ends the reading, not the end of the file.
type tail struct {
	r, w *os.File
	max  int
	buf  []byte        // written by the reader until done
	done chan struct{} // closed by the reader; nil before start
}

func newTail(max int) (*tail, error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("pipe2", err)
	}
	// Only our end: programs do not expect a stdout that says EAGAIN.
	if err := unix.SetNonblock(fds[0], true); err != nil {
		unix.Close(fds[0])
		unix.Close(fds[1])
		return nil, os.NewSyscallError("fcntl", err)
	}
	return &tail{r: os.NewFile(uintptr(fds[0]), "helper output"), w: os.NewFile(uintptr(fds[1]), "helper output"), max: max}, nil
}

// start reads in the background, once the helper has its copy of w.
func (t *tail) start() {
	t.w.Close()
	t.done = make(chan struct{})
	go func() {
		defer close(t.done)
		var b [4096]byte
		for {
			n, err := t.r.Read(b[:])
			t.add(b[:n])
			if err != nil {
				return
			}
		}
	}()
}

func (t *tail) add(b []byte) {
	t.buf = append(t.buf, b...)
	if over := len(t.buf) - t.max; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
}

// finish returns what was kept, after the helper has ended.
func (t *tail) finish() string {
	t.r.SetReadDeadline(time.Now())
	<-t.done
	// The deadline wins over data that are there already.
	if raw, err := t.r.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) {
			var b [4096]byte
			for range 16 { // a pipe's worth
				n, err := unix.Read(int(fd), b[:])
				if n <= 0 || err != nil {
					return
				}
				t.add(b[:n])
			}
		})
	}
	return string(t.buf)
}

func (t *tail) close() {
	t.w.Close()
	t.r.Close()
	if t.done != nil {
		<-t.done
	}
}

// memfd is an anonymous file with the given content, to be read from its start.
func memfd(name string, content []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_NOEXEC_SEAL)
	if err == unix.EINVAL { // before Linux 6.3
		fd, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	}
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if _, err := f.WriteAt(content, 0); err != nil {
		f.Close()
		return nil, fmt.Errorf("write %s: %w", name, err)
	}
	return f, nil
}
