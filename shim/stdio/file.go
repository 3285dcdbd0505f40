// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// file is a descriptor that several owners share: two streams one log file,
// or both directions one pty. It is no *os.File, because that would enter
// every descriptor into Go's poller beside ours.
type file struct {
	fd   int
	path string // for errors
	pipe bool   // a pipe or fifo: can be spliced and waited for
	hold *file  // an output fifo's read end, ours too
	met  bool   // somebody had the fifo open for reading before us
	refs atomic.Int32
}

func newFile(fd int, path string) *file {
	f := &file{fd: fd, path: path}
	f.refs.Store(1)
	return f
}

func (f *file) ref() *file {
	f.refs.Add(1)
	return f
}

// unref closes the descriptor with its last owner. A nil file is no file.
func (f *file) unref() error {
	if f == nil || f.refs.Add(-1) != 0 {
		return nil
	}
	err := f.hold.unref()
	if e := unix.Close(f.fd); e != nil {
		err = errors.Join(err, &fs.PathError{Op: "close", Path: f.path, Err: e})
	}
	return err
}

// unread is the number of bytes that wait in a pipe (TIOCINQ is FIONREAD).
func (f *file) unread() int {
	n, err := unix.IoctlGetInt(f.fd, unix.TIOCINQ)
	if err != nil {
		return 0
	}
	return n
}

// hungUp reports whether a pipe that we read has no writer any more.
func (f *file) hungUp() bool {
	fds := []unix.PollFd{{Fd: int32(f.fd)}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n == 1 && fds[0].Revents&unix.POLLHUP != 0
}

// polls reports whether f is ready for events, or hung up.
func (f *file) polls(events int16) bool {
	p := []unix.PollFd{{Fd: int32(f.fd), Events: events}}
	n, err := again(func() (int, error) { return unix.Poll(p, 0) })
	return err == nil && n == 1
}

// attended reports whether anybody but us has an output's fifo open for
// reading. For the moment that it takes, we have not: only who may write to
// the fifo may call it.
func (f *file) attended() bool {
	f.hold.unref()
	f.hold = nil
	here := f.hasReader()
	f.rehold()
	return here
}

// rehold opens our read end of an output's fifo again. Without descriptors to
// spare there is none for a while; writers must be ready for EPIPE then.
func (f *file) rehold() {
	fd, err := open(fmt.Sprintf("/proc/self/fd/%d", f.fd), unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err == nil {
		f.hold = newFile(fd, f.path)
	}
}

// dup returns a descriptor of its own for the same file, to be given away.
func (f *file) dup() (*os.File, error) {
	fd, err := unix.FcntlInt(uintptr(f.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "dup", Path: f.path, Err: err}
	}
	return os.NewFile(uintptr(fd), f.path), nil
}

// openStdinFifo opens a client's fifo for reading, and for writing so that it
// has no end while clients come and go. That never blocks.
func openStdinFifo(path string) (*file, error) {
	fd, err := open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	f := newFile(fd, path)
	f.pipe = true
	if _, err := fifoInode(f); err != nil {
		f.unref()
		return nil, err
	}
	return f, nil
}

// openOutputFifo opens a client's fifo for writing, and for reading so that
// it always has a reader. These are two descriptors, because epoll would tell
// one for both of everything that we write ourselves.
func openOutputFifo(path string) (*file, error) {
	// Without a reader of its own the open fails, which tells whether the
	// client is there.
	w, err := open(path, unix.O_WRONLY|unix.O_NONBLOCK, 0)
	if err != nil && !errors.Is(err, unix.ENXIO) {
		return nil, err
	}
	met := err == nil
	r, err := open(path, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err == nil && !met {
		w, err = open(path, unix.O_WRONLY|unix.O_NONBLOCK, 0)
	}
	f := newFile(w, path)
	f.pipe, f.met, f.hold = true, met, newFile(r, path)
	if err == nil {
		err = f.sameAs(f.hold)
	}
	if err != nil {
		f.unref() // -1 for one that could not be opened is no harm
		return nil, err
	}
	return f, nil
}

// sameAs checks that both ends are of one fifo.
func (f *file) sameAs(hold *file) error {
	w, err := fifoInode(f)
	r, err2 := fifoInode(hold)
	if err := errors.Join(err, err2); err != nil {
		return err
	}
	if r != w {
		return fmt.Errorf("open %s: was replaced meanwhile", f.path)
	}
	return nil
}

// fifoInode is the identity of a fifo, and an error for anything else.
func fifoInode(f *file) (id [2]uint64, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(f.fd, &st); err != nil {
		return id, &fs.PathError{Op: "stat", Path: f.path, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFIFO {
		return id, fmt.Errorf("open %s: not a fifo", f.path)
	}
	return [2]uint64{st.Dev, st.Ino}, nil
}

// openAppend opens a log file. O_NONBLOCK is for a path that turns out to be
// a device; it changes nothing for files.
func openAppend(path string, create bool) (*file, error) {
	flags := unix.O_WRONLY | unix.O_APPEND | unix.O_NONBLOCK | unix.O_NOCTTY
	if create {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return nil, err
		}
		flags |= unix.O_CREAT
	}
	fd, err := open(path, flags, 0o644)
	if err != nil {
		return nil, err
	}
	return newFile(fd, path), nil
}

// openPath opens what a plain path names: a fifo, or a file that must exist.
func openPath(path string) (*file, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if st.Mode()&fs.ModeNamedPipe != 0 {
		return openOutputFifo(path)
	}
	return openAppend(path, false)
}

func open(path string, flags int, mode uint32) (int, error) {
	for {
		fd, err := unix.Open(path, flags|unix.O_CLOEXEC, mode)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return -1, &fs.PathError{Op: "open", Path: path, Err: err}
		}
		return fd, nil
	}
}

// makePipe makes a pipe between the pump and a process: our end does not
// block, the process's does, and the process's user may open it again by
// /dev/stdout or /dev/stdin.
func (c *Config) makePipe(name string, childReads bool) (ours *file, child *os.File, err error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, fmt.Errorf("make %s pipe: %w", name, err)
	}
	if childReads {
		p[0], p[1] = p[1], p[0]
	}
	ours, child = newFile(p[0], name+" pipe"), os.NewFile(uintptr(p[1]), name)
	ours.pipe = true
	if err = unix.SetNonblock(ours.fd, true); err == nil && (c.UID != 0 || c.GID != 0) {
		err = unix.Fchown(ours.fd, c.UID, c.GID)
	}
	if err != nil {
		ours.unref()
		child.Close()
		return nil, nil, fmt.Errorf("give %s pipe to user %d:%d: %w", name, c.UID, c.GID, err)
	}
	return ours, child, nil
}
