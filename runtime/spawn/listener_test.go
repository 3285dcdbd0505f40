// SPDX-License-Identifier: Apache-2.0

package spawn

import (
	"context"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"foundry/runtime/plan"

	"golang.org/x/sys/unix"
)

// notification is struct seccomp_notif, answer struct seccomp_notif_resp.
type notification struct {
	id         uint64
	pid, flags uint32
	nr         int32
	arch       uint32
	ip         uint64
	args       [6]uint64
}

type notificationAnswer struct {
	id           uint64
	val          int64
	errno, flags int32
}

// answers lets every call through but mkdir, and returns the numbers of those
// it saw when the last process of the filter is gone.
func answers(t *testing.T, f *os.File) map[int32]int {
	seen := map[int32]int{}
	fd := uintptr(f.Fd())
	for {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if _, err := unix.Poll(p, 20000); errors.Is(err, unix.EINTR) {
			continue
		}
		if p[0].Revents&unix.POLLIN == 0 {
			if p[0].Revents&unix.POLLHUP == 0 {
				t.Errorf("listener: no notification, and no end: %#x", p[0].Revents)
			}
			return seen
		}
		var n notification
		if _, _, e := unix.Syscall(unix.SYS_IOCTL, fd, 0xc0502100, uintptr(unsafe.Pointer(&n))); e != 0 {
			continue // it was killed meanwhile
		}
		seen[n.nr]++
		a := notificationAnswer{id: n.id, flags: 1} // SECCOMP_USER_NOTIF_FLAG_CONTINUE
		if n.nr == unix.SYS_MKDIR {
			a.flags, a.errno = 0, -int32(unix.EXDEV)
		}
		_, _, _ = unix.Syscall(unix.SYS_IOCTL, fd, 0xc0182101, uintptr(unsafe.Pointer(&a)))
	}
}

// notifyAll is a filter that has every call answered by somebody else.
func notifyAll() []byte { return program(unix.SockFilter{Code: 0x06, K: 0x7fc00000}) }

// listening returns the container's plan, its filter with a listener.
func (c *container) listening(t *testing.T) *plan.Plan {
	t.Helper()
	p := c.plan(t)
	for i := range p.Steps {
		if p.Steps[i].Op == plan.OpSeccomp {
			p.Steps[i].Flags |= plan.FlagListener
		}
	}
	return p
}

// TestListener: from the filter on every call of the stage and of the program
// is answered by the holder of the listener.
func TestListener(t *testing.T) {
	w := newWorld(t, 16)
	for name, change := range map[string]func(*container){
		"no_new_privs":    func(c *container) { c.spec.Process.NoNewPrivileges = true },
		"no no_new_privs": func(c *container) { c.spec.Process.NoNewPrivileges = false },
		"with flags":      func(c *container) { c.facts.SeccompFlags = 0x1 | 0x2 | 0x20 }, // TSYNC, LOG, WAIT_KILLABLE_RECV
	} {
		t.Run(name, func(t *testing.T) {
			c := newContainer(t, "sh", "-c", "busybox mkdir /x; exit $?")
			c.facts.Seccomp = notifyAll()
			change(c)
			r, out, err := os.Pipe()
			must(t, err)
			defer r.Close()
			p := c.listening(t)
			proc := w.spawn(p, filesOf(p, out, nil)...)
			out.Close()
			w.reach(proc, PointReady)
			must(t, proc.Go())
			w.reach(proc, PointListener)
			listener, err := proc.Listener(w.context())
			must(t, err)
			defer listener.Close()
			waits := []unix.PollFd{{Fd: int32(listener.Fd()), Events: unix.POLLIN}}
			if n, err := unix.Poll(waits, 20); n != 0 || err != nil {
				t.Errorf("the stage makes a call while it waits: %d, %v", n, err)
			}
			must(t, proc.Go())
			seen := answers(t, listener)
			w.reach(proc, PointExec)
			text := make([]byte, 200)
			n, _ := r.Read(text)
			if got, want := string(text[:n]), "can't create directory '/x': Invalid cross-device link\n"; !strings.HasSuffix(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
			if e := w.exit(proc); e.Status != 1 {
				t.Errorf("got %+v, want status 1", e)
			}
			for _, nr := range []int32{unix.SYS_EXECVE, unix.SYS_MKDIR} {
				if seen[nr] == 0 {
					t.Errorf("call %d was not asked for: %v", nr, seen)
				}
			}
			if nnp := c.spec.Process.NoNewPrivileges; nnp == (seen[unix.SYS_SETRESUID] > 0) {
				t.Errorf("no_new_privs %v, and %d calls of setresuid under the filter", nnp, seen[unix.SYS_SETRESUID])
			}
		})
	}
}

// TestListenerOfNobody: processes that wait for somebody to take the listener
// end as others do.
func TestListenerOfNobody(t *testing.T) {
	w := newWorld(t, 16)
	c := newContainer(t, "true")
	c.facts.Seccomp = notifyAll()
	p := w.spawn(c.listening(t))
	w.reach(p, PointReady)
	if _, err := p.Listener(shortly(t)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("before the filter: got %v, want that the time is over", err)
	}
	must(t, p.Go())
	w.reach(p, PointListener)
	must(t, p.Signal(syscall.SIGKILL))
	_, err := p.Sync(w.context())
	var stage *StageError
	if !errors.As(err, &stage) || stage.Op != plan.OpSeccomp || stage.Errno != unix.ECANCELED {
		t.Errorf("got %v, want that it was killed", err)
	}
	w.exit(p)
	if _, err := p.Listener(w.context()); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("after the exit: got %v, want that it is done", err)
	}
}

func shortly(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30_000_000)
	t.Cleanup(cancel)
	return ctx
}

// TestListenerRefused: a filter that the kernel does not take is told to who
// waits for the listener.
func TestListenerRefused(t *testing.T) {
	w := newWorld(t, 16)
	c := newContainer(t, "true")
	c.facts.Seccomp = program(unix.SockFilter{Code: 0xffff})
	p := w.spawn(c.listening(t))
	w.reach(p, PointReady)
	must(t, p.Go())
	w.reach(p, PointListener)
	want := "install seccomp filter with a listener: invalid argument"
	if _, err := p.Listener(w.context()); err == nil || err.Error() != "take seccomp listener of process "+itoa(p.Pid)+": "+want {
		t.Errorf("got %v, want %s", err, want)
	}
	if _, err := p.Sync(w.context()); err == nil || err.Error() != want {
		t.Errorf("sync: got %v, want %s", err, want)
	}
	w.exit(p)
}
