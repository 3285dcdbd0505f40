// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Watcher tells when processes of a group are killed for want of memory. One
// epoll instance, one inotify instance and one goroutine that sleeps in the
// Go poller serve all groups: v1 signals an eventfd for each group, v2 changes
// memory.events.
type Watcher struct {
	epoll  *os.File
	notify int // inotify, opened with the first v2 group; -1 before

	mu      sync.Mutex
	watches map[int32]*watch // by eventfd (v1) or by ^inotify watch (v2)
	done    chan struct{}
}

// watch is one group.
type watch struct {
	g     *Group
	fn    func()
	key   int32
	seen  uint64    // kills that fn knows of
	until time.Time // look again until then; zero: nothing happened
	again time.Time // when
	delay time.Duration
}

func (x *watch) mark() {
	now := time.Now()
	x.until, x.again, x.delay = now.Add(recheck), now, time.Millisecond
}

// recheck is how long the watcher keeps looking after an event without a new
// kill. v1 signals that memory ran out before it chooses a victim, and to
// every group below the one that ran out, most of which lose nobody.
const recheck = 2 * time.Second

// NewWatcher starts the goroutine; Close stops it.
func NewWatcher() (*Watcher, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("watch for oom kills: %w", os.NewSyscallError("epoll_create1", err))
	}
	// Non-blocking, so that os.NewFile lets the Go poller wait for it and no
	// thread is spent.
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("watch for oom kills: %w", err)
	}
	w := &Watcher{epoll: os.NewFile(uintptr(fd), "epoll"), notify: -1, watches: map[int32]*watch{}, done: make(chan struct{})}
	go w.loop()
	return w, nil
}

// Close stops the goroutine and all watches. No fn runs after it returned, so
// no fn may call it.
func (w *Watcher) Close() error {
	err := w.epoll.Close()
	<-w.done
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, x := range w.watches {
		w.drop(x)
	}
	if w.notify >= 0 {
		unix.Close(w.notify)
		w.notify = -1
	}
	return err
}

// Watch calls fn, on the watcher's goroutine, soon after a process of the group
// was killed for want of memory, and on v1 also when its OOM killer is switched
// off and memory ran out. fn must not block: it delays all other groups. Kills
// from before Watch are not reported. Exits may be seen before fn is called:
// whoever must know by then asks OOMKills. stop may be called more than once;
// an fn that is about to run then still runs.
func (w *Watcher) Watch(g *Group, fn func()) (stop func(), err error) {
	dir := g.dir("memory")
	if dir == "" {
		return func() {}, nil // no controller, no limit, no kill
	}
	x := &watch{g: g, fn: fn}
	if x.seen, err = g.OOMKills(); err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if g.info.Unified {
		err = w.addInotify(x, dir)
	} else {
		err = w.addEventfd(x, dir)
	}
	if err != nil {
		return nil, fmt.Errorf("watch cgroup %s for oom kills: %w", g.path, err)
	}
	w.watches[x.key] = x
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.drop(x)
	}, nil
}

func (w *Watcher) addInotify(x *watch, dir string) error {
	if w.notify < 0 {
		fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
		if err != nil {
			return os.NewSyscallError("inotify_init1", err)
		}
		if err := w.poll(fd); err != nil {
			unix.Close(fd)
			return err
		}
		w.notify = fd
	}
	wd, err := unix.InotifyAddWatch(w.notify, dir+"/memory.events", unix.IN_MODIFY)
	if err != nil {
		return &os.PathError{Op: "inotify_add_watch", Path: dir + "/memory.events", Err: err}
	}
	x.key = ^int32(wd)
	return nil
}

func (w *Watcher) addEventfd(x *watch, dir string) error {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return os.NewSyscallError("eventfd", err)
	}
	control, err := openFile(dir+"/memory.oom_control", unix.O_RDONLY)
	if err == nil {
		err = writeFile(dir, "cgroup.event_control", fmt.Sprintf("%d %d", fd, control))
		unix.Close(control)
	}
	if err == nil {
		err = w.poll(fd)
	}
	if err != nil {
		unix.Close(fd)
		return err
	}
	x.key = int32(fd)
	return nil
}

func (w *Watcher) poll(fd int) error {
	raw, err := w.epoll.SyscallConn()
	if err != nil {
		return err
	}
	err2 := raw.Control(func(ep uintptr) {
		err = unix.EpollCtl(int(ep), unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
	})
	return os.NewSyscallError("epoll_ctl", errors.Join(err, err2))
}

// drop ends one watch, with mu held. Closing an eventfd takes it out of the
// epoll set and out of the group.
func (w *Watcher) drop(x *watch) {
	if w.watches[x.key] != x {
		return
	}
	delete(w.watches, x.key)
	if x.key >= 0 {
		unix.Close(int(x.key))
	} else if w.notify >= 0 {
		// EINVAL: the group was removed, and the kernel's watch with it.
		_, _ = unix.InotifyRmWatch(w.notify, uint32(^x.key))
	}
}

func (w *Watcher) loop() {
	defer close(w.done)
	raw, err := w.epoll.SyscallConn()
	if err != nil {
		return
	}
	for {
		var events [32]unix.EpollEvent
		n := 0
		_ = w.epoll.SetReadDeadline(w.next())
		err := raw.Read(func(fd uintptr) bool {
			n, _ = unix.EpollWait(int(fd), events[:], 0)
			return n > 0
		})
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		for _, e := range events[:max(n, 0)] {
			w.wake(e.Fd)
		}
		w.look()
	}
}

// next is when to look although nothing happens; never, most of the time.
func (w *Watcher) next() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	var first time.Time
	for _, x := range w.watches {
		if !x.until.IsZero() && (first.IsZero() || x.again.Before(first)) {
			first = x.again
		}
	}
	return first
}

// wake marks the groups that an event is about.
func (w *Watcher) wake(fd int32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var buf [4096]byte
	n, err := unix.Read(int(fd), buf[:])
	if int(fd) != w.notify {
		if x := w.watches[fd]; x != nil {
			x.mark()
		}
		return
	}
	for at := 0; err == nil && at+unix.SizeofInotifyEvent <= n; {
		// struct inotify_event {wd, mask, cookie, len, name[len]}
		wd := int32(binary.NativeEndian.Uint32(buf[at:]))
		size := int(binary.NativeEndian.Uint32(buf[at+12:]))
		if x := w.watches[^wd]; x != nil {
			x.mark()
		}
		at += unix.SizeofInotifyEvent + size
	}
}

// look calls fn for the marked groups that lost somebody.
func (w *Watcher) look() {
	w.mu.Lock()
	var call []func()
	now := time.Now()
	for _, x := range w.watches {
		if x.until.IsZero() || now.Before(x.again) {
			continue
		}
		longest := 64 * time.Millisecond
		if x.g.unit != (unit{}) {
			longest = 2 * time.Millisecond // systemd removes a scope, and its count, with the last process
		}
		x.again, x.delay = now.Add(x.delay), min(2*x.delay, longest)
		kills, err := x.g.OOMKills()
		switch {
		case err == nil && kills > x.seen, x.g.starved():
			x.seen, x.until = max(kills, x.seen), time.Time{}
			call = append(call, x.fn)
		case now.After(x.until) || !exists(x.g.dir("memory")):
			x.until = time.Time{}
		}
	}
	w.mu.Unlock()
	for _, fn := range call {
		fn()
	}
}

// starved tells whether memory ran out and nobody is killed for it.
func (g *Group) starved() bool {
	if g.info.Unified {
		return false
	}
	text, err := readFile(g.dir("memory"), "memory.oom_control")
	return err == nil && field(text, "oom_kill_disable") == 1 && field(text, "under_oom") == 1
}
