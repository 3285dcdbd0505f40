// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"foundry/runtime/seccomp"
)

// agent answers for the system calls of those containers that ask for it by
// annotation (see [listener]). There is one for all: a goroutine that takes one
// question of a container after one of another, and waits for nobody, so that
// none can keep the answers from the rest.
type agent struct {
	log *slog.Logger

	mu      sync.Mutex // guards what follows
	epoll   int        // 0 before the first container
	stop    *os.File   // a pipe's end: closing it ends the goroutine
	ended   chan struct{}
	clients map[int32]*client // by the listener's descriptor
}

// client is one listener, from when the filter was installed until no process
// has it any more.
type client struct {
	file *os.File
	name name
	deny bool

	window time.Time // that lines and silent are counted in
	lines  int
	silent int
}

// agentLines is how many calls of one listener are logged in a second: a
// container must not fill the disk of the host.
const agentLines = 20

// watch answers what comes by the listener from now on; deny: with EPERM, else
// the call is made. The agent closes it.
func (a *agent) watch(file *os.File, n name, deny bool) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.openLocked(); err != nil {
		return errors.Join(fmt.Errorf("start the seccomp agent: %w", err), file.Close())
	}
	fd := int32(file.Fd())
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: fd} // and EPOLLHUP, which needs no asking
	if err := unix.EpollCtl(a.epoll, unix.EPOLL_CTL_ADD, int(fd), &event); err != nil {
		return errors.Join(fmt.Errorf("watch seccomp listener: %w", os.NewSyscallError("epoll_ctl", err)), file.Close())
	}
	a.clients[fd] = &client{file: file, name: n, deny: deny}
	return nil
}

// openLocked starts the goroutine, once.
// Preconditions: a.mu is held.
func (a *agent) openLocked() error {
	if a.epoll != 0 {
		return nil
	}
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return errors.Join(err, unix.Close(epoll))
	}
	end := unix.EpollEvent{Events: unix.EPOLLIN, Fd: -1}
	if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, int(r.Fd()), &end); err != nil {
		return errors.Join(os.NewSyscallError("epoll_ctl", err), unix.Close(epoll), r.Close(), w.Close())
	}
	a.epoll, a.stop, a.ended, a.clients = epoll, w, make(chan struct{}), map[int32]*client{}
	go a.run(epoll, r)
	return nil
}

// close ends the agent. Calls that nobody answers any more are ENOSYS.
func (a *agent) close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.epoll == 0 {
		return nil
	}
	err := a.stop.Close()
	a.mu.Unlock() // the goroutine takes it
	<-a.ended
	a.mu.Lock()
	for _, c := range a.clients {
		err = errors.Join(err, c.file.Close())
	}
	a.epoll, a.clients = 0, nil
	return err
}

func (a *agent) run(epoll int, stop *os.File) {
	defer close(a.ended)
	defer unix.Close(epoll)
	defer stop.Close()
	var events [16]unix.EpollEvent
	for {
		n, err := unix.EpollWait(epoll, events[:], -1)
		if err != nil && err != unix.EINTR {
			a.log.Error("seccomp agent ends", "err", os.NewSyscallError("epoll_wait", err))
			return
		}
		for _, e := range events[:max(n, 0)] {
			if e.Fd == -1 {
				return
			}
			a.serve(e)
		}
	}
}

// serve answers one question, or lets go of a listener that has nobody left to
// ask one.
func (a *agent) serve(e unix.EpollEvent) {
	a.mu.Lock()
	c := a.clients[e.Fd]
	if c == nil {
		a.mu.Unlock()
		return
	}
	if e.Events&unix.EPOLLIN == 0 {
		delete(a.clients, e.Fd)
		a.mu.Unlock()
		c.file.Close() // which takes it out of the epoll
		return
	}
	a.mu.Unlock()
	c.answer(a.log)
}

// question and reply are the kernel's struct seccomp_notif and
// seccomp_notif_resp, which it fills to their size here and no further.
type question struct {
	id         uint64
	pid, flags uint32
	number     int32
	arch       uint32
	_          [7]uint64 // the instruction and the arguments
}

type reply struct {
	id    uint64
	_     int64
	errno int32
	flags uint32
}

func (c *client) answer(log *slog.Logger) {
	var q question
	// It does not wait: there was a question, and nobody else takes one. The
	// caller may be dead by now, which is ENOENT.
	if err := c.ioctl(unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&q)); err != nil {
		return
	}
	r := reply{id: q.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
	said := "allowed"
	if c.deny {
		r.flags, r.errno, said = 0, -int32(unix.EPERM), "denied"
	}
	c.tell(log, seccomp.CallName(q.arch, uint32(q.number)), q.pid, said)
	if err := c.ioctl(unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&r)); err != nil && !errors.Is(err, unix.ENOENT) {
		log.Warn("answer a system call", "namespace", c.name.namespace, "id", c.name.id, "err", err)
	}
}

func (c *client) ioctl(request uintptr, arg unsafe.Pointer) error {
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, c.file.Fd(), request, uintptr(arg))
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
		default:
			return errno
		}
	}
}

// tell logs a call, or counts it when there were too many of late.
func (c *client) tell(log *slog.Logger, call string, pid uint32, said string) {
	now := time.Now()
	if now.Sub(c.window) > time.Second {
		if c.silent > 0 {
			log.Info("seccomp: more calls were not logged", "namespace", c.name.namespace, "id", c.name.id, "calls", c.silent)
		}
		c.window, c.lines, c.silent = now, 0, 0
	}
	if c.lines++; c.lines > agentLines {
		c.silent++
		return
	}
	log.Info("seccomp: "+said, "namespace", c.name.namespace, "id", c.name.id, "call", call, "pid", pid)
}
