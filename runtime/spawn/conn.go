// SPDX-License-Identifier: Apache-2.0

package spawn

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const msgSize = int(unsafe.Sizeof(msg{}))

// wireConn carries messages with descriptors.
type wireConn struct {
	file *os.File
	raw  syscall.RawConn
	mu   sync.Mutex // one sender at a time
	oob  []byte     // the reader's
}

// newWireConn takes conn over. It must be known to the runtime's poller, or a
// reader would hold a thread and could not be ended.
func newWireConn(conn *os.File) (*wireConn, error) {
	var fd int
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	if cerr := raw.Control(func(old uintptr) { fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 3) }); cerr != nil || err != nil {
		return nil, errors.Join(cerr, err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, os.NewSyscallError("set O_NONBLOCK", err)
	}
	w := &wireConn{file: os.NewFile(uintptr(fd), "spawner"), oob: make([]byte, unix.CmsgSpace(4*maxFDs))}
	if w.raw, err = w.file.SyscallConn(); err != nil {
		return nil, errors.Join(err, w.file.Close())
	}
	return w, conn.Close()
}

func (w *wireConn) close() error { return w.file.Close() }

func bytesOf(m *msg) []byte { return unsafe.Slice((*byte)(unsafe.Pointer(m)), msgSize) }

func (w *wireConn) send(m *msg, fds []int) error {
	if len(fds) > maxFDs {
		return fmt.Errorf("%d descriptors are more than the %d of one message", len(fds), maxFDs)
	}
	m.Nfds = uint32(len(fds))
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var serr error
	err := w.raw.Write(func(fd uintptr) bool {
		serr = ignoringEINTR(func() error {
			return unix.Sendmsg(int(fd), bytesOf(m), rights, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
		})
		return !errors.Is(serr, unix.EAGAIN)
	})
	if err == nil {
		err = serr
	}
	if errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, os.ErrClosed) {
		return ErrGone
	}
	return err
}

func (w *wireConn) receive(m *msg) ([]*os.File, error) {
	var n, oobn, flags int
	var rerr error
	err := w.raw.Read(func(fd uintptr) bool {
		rerr = ignoringEINTR(func() (err error) {
			n, oobn, flags, _, err = unix.Recvmsg(int(fd), bytesOf(m), w.oob, unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
			return err
		})
		return !errors.Is(rerr, unix.EAGAIN)
	})
	if err = errors.Join(err, rerr); err != nil {
		return nil, err
	}
	files, err := takeRights(w.oob[:oobn])
	if err == nil && n == 0 {
		return nil, io.EOF
	}
	if err != nil || n != msgSize || flags&(unix.MSG_CTRUNC|unix.MSG_TRUNC) != 0 {
		closeFiles(files)
		return nil, fmt.Errorf("hear spawner: %d bytes, flags %#x: %w", n, flags, errors.Join(err, unix.EBADMSG))
	}
	return files, nil
}

func takeRights(oob []byte) ([]*os.File, error) {
	if len(oob) == 0 {
		return nil, nil
	}
	cmsgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	var files []*os.File
	for i := range cmsgs {
		fds, err := unix.ParseUnixRights(&cmsgs[i])
		if err != nil {
			continue
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "from spawner"))
		}
	}
	return files, nil
}

func ignoringEINTR(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
