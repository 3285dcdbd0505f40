// SPDX-License-Identifier: Apache-2.0

package spawn

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"foundry/runtime/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// eventually polls what has no event to wait for.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		if ok() {
			return
		}
		runtime.Gosched()
		unix.Nanosleep(&unix.Timespec{Nsec: 1e6}, nil)
	}
	t.Fatalf("%s did not happen", what)
}

func (w *world) list() []Listed {
	w.t.Helper()
	list, err := w.client.List(w.context())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, l := range list {
		if l.Pidfd != nil {
			l.Pidfd.Close()
		}
	}
	return list
}

func (w *world) header() slotHeader {
	return *(*slotHeader)(ptrTo(w.client.slots.mem))
}

// TestOrphans: what is left to the spawner by others is reaped and counted,
// and is nobody's exit.
func TestOrphans(t *testing.T) {
	w := newWorld(t, 16)
	r, end, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := &plan.Plan{
		Files: []plan.File{{Kind: plan.FileExtra}},
		Steps: []plan.Step{{Op: plan.OpDup, A: 3}, execHost(busybox, "sh", "-c", "for i in 1 2 3 4 5; do (busybox cat <&3 &) ; done")},
	}
	proc := w.spawn(p, r)
	r.Close()
	w.reach(proc, PointExec)
	w.exit(proc)
	end.Close()
	eventually(t, "reaping of five orphans", func() bool { return w.header().Orphans >= 5 })
	if n := w.header().Orphans; n > 10 { // those that forked, perhaps, and the five
		t.Errorf("%d orphans, want at most 10", n)
	}
	if len(w.exits) != 0 {
		t.Errorf("orphans have exits: %+v", <-w.exits)
	}
}

func TestFullSlots(t *testing.T) {
	w := newWorld(t, 3)
	var procs []*Process
	for range 3 {
		procs = append(procs, w.spawn(hostPlan("sleep", "1000")))
	}
	_, err := w.try(hostPlan("true"))
	if !errors.Is(err, unix.EAGAIN) || err.Error() != "spawn: all 3 slots are in use: resource temporarily unavailable" {
		t.Errorf("got %v, want EAGAIN", err)
	}
	if err := procs[1].Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	e := <-w.exits
	if _, err := w.try(hostPlan("true")); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("before the acknowledgement: got %v, want EAGAIN", err)
	}
	if err := w.client.Ack(e); err != nil {
		t.Fatal(err)
	}
	again := w.spawn(hostPlan("true"))
	if again.Slot != procs[1].Slot {
		t.Errorf("slot %d was taken, want %d, the lowest free", again.Slot, procs[1].Slot)
	}
	w.exit(again)
}

// TestNoRoomForSlots: a slot file that cannot grow, because its file system is
// full, costs one Spawn, and not the spawner a SIGBUS.
func TestNoRoomForSlots(t *testing.T) {
	w := newWorldWith(t, 8, func(w *world) { w.slots = filepath.Join(smallFS(t, "2"), "slots") }) // header, one slot
	first := w.spawn(hostPlan("sleep", "1000"))
	for range 2 {
		if _, err := w.try(hostPlan("true")); !errors.Is(err, unix.ENOSPC) {
			t.Errorf("got %v, want ENOSPC", err)
		}
	}
	if err := first.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	w.exit(first)
	w.exit(w.spawn(hostPlan("true")))
}

// smallFS is a tmpfs of so many blocks, mounted nowhere.
func smallFS(t *testing.T, blocks string) string {
	t.Helper()
	requireRoot(t)
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fs)
	if err := errors.Join(unix.FsconfigSetString(fs, "nr_blocks", blocks), unix.FsconfigCreate(fs)); err != nil {
		t.Fatal(err)
	}
	mnt, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(mnt) })
	return fmt.Sprintf("/proc/self/fd/%d", mnt)
}

func TestKeys(t *testing.T) {
	w := newWorld(t, 3)
	p := w.spawn(hostPlan("sleep", "1000"))
	_, err := w.client.Spawn(w.context(), Request{Key: p.Key, Plan: hostPlan("true")})
	if !errors.Is(err, unix.EEXIST) {
		t.Errorf("same key twice: got %v, want EEXIST", err)
	}
	if _, err := w.client.Spawn(w.context(), Request{Plan: hostPlan("true")}); !errors.Is(err, unix.EINVAL) {
		t.Errorf("key 0: got %v, want EINVAL", err)
	}
	if e, ok, err := ReadExit(w.slots, p.Key); err != nil || ok || e.Pid != p.Pid {
		t.Errorf("ReadExit of a living process: %+v, %v, %v", e, ok, err)
	}
	_ = p.Signal(syscall.SIGTERM)
	e := <-w.exits
	got, ok, err := ReadExit(w.slots, p.Key)
	if err != nil || !ok || got != e {
		t.Errorf("ReadExit: got %+v, %v, %v, want %+v", got, ok, err, e)
	}
	if since := time.Since(got.At); since < 0 || since > time.Minute {
		t.Errorf("the exit was %v ago", since)
	}
	if _, ok, err := ReadExit(w.slots, 4711); ok || err != nil {
		t.Errorf("ReadExit of an unknown key: %v, %v", ok, err)
	}
	// A late or doubled acknowledgement frees nobody else's slot.
	for range 3 {
		if err := w.client.Ack(e); err != nil {
			t.Fatal(err)
		}
	}
	other := w.spawn(hostPlan("sleep", "1000"))
	_ = w.client.Ack(Exit{Key: e.Key, Slot: other.Slot})
	_ = w.client.Ack(Exit{Key: other.Key, Slot: other.Slot})
	if list := w.list(); len(list) != 1 || list[0].Pid != other.Pid || list[0].Pidfd == nil {
		t.Errorf("list: %+v, want process %d", list, other.Pid)
	}
}

func TestCancelledSpawn(t *testing.T) {
	w := newWorld(t, 16)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for key := uint64(1000); key < 1050; key++ {
		p, err := w.client.Spawn(ctx, Request{Key: key, Plan: hostPlan("sleep", "1000")})
		if err == nil { // the answer was there at once
			_ = p.Signal(syscall.SIGKILL)
			p.Close()
		}
		if e := <-w.exits; e.Key != key || e.Signal != 9 {
			t.Fatalf("got %+v, want the death of %d", e, key)
		} else if err := w.client.Ack(e); err != nil {
			t.Fatal(err)
		}
	}
}

// TestIntermediateKilled: the fork of an exec that is killed midway leaves no
// process behind, and its Spawn fails by name.
func TestForkFails(t *testing.T) {
	w := newWorld(t, 16)
	c := newContainer(t, "sleep", "1000")
	init := w.spawn(c.plan(t))
	w.run(init)
	p := c.exec(t, specs.Process{}, "true")
	insert(p, plan.OpFork, plan.Step{Op: plan.OpSysctl, FD: -1, S: [4]string{"kernel/nosuch", "1"}})
	_, err := w.try(p, filesOf(p, nil, init.Pidfd)...)
	var stage *StageError
	if !errors.As(err, &stage) || stage.Op != plan.OpSysctl || err.Error() != "open /proc/sys/kernel/nosuch: no such file or directory" {
		t.Errorf("got %v, want the failure of the sysctl step", err)
	}
	if list := w.list(); len(list) != 1 {
		t.Errorf("slots in use: %+v, want init's alone", list)
	}
}

// TestServerDies: the spawner stays as long as a process does, records its
// exit in the file, and leaves.
func TestServerDies(t *testing.T) {
	w := newWorld(t, 16)
	p := w.spawn(hostPlan("sleep", "1000"))
	quick := w.spawn(hostPlan("true"))
	<-w.exits
	w.client.Close()
	<-w.client.Done()
	if err := w.cmd.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the spawner left before its last process: %v", err)
	}
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := w.cmd.Wait(); err != nil {
		t.Errorf("spawner: %v", err)
	}
	w.cmd.Process = nil
	if e, ok, err := ReadExit(w.slots, p.Key); err != nil || !ok || e.Status != 143 {
		t.Errorf("ReadExit: %+v, %v, %v, want status 143", e, ok, err)
	}
	if e, ok, err := ReadExit(w.slots, quick.Key); err != nil || !ok || e.Status != 0 {
		t.Errorf("ReadExit of an exit that was told but not acknowledged: %+v, %v, %v", e, ok, err)
	}
	if _, err := w.try(hostPlan("true")); !errors.Is(err, ErrGone) {
		t.Errorf("spawn without a spawner: %v, want ErrGone", err)
	}
}

func TestSpawnerDies(t *testing.T) {
	w := newWorld(t, 16)
	if err := w.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-w.client.Done():
	case <-time.After(10 * time.Second):
		t.Error("the death of the spawner was not noticed")
	}
	_ = w.cmd.Wait()
	w.cmd.Process = nil
}

// count returns how many descriptors and zombie children the spawner has.
func (w *world) count() string {
	w.t.Helper()
	fds, err := os.ReadDir(filepath.Join("/proc", itoa(w.client.Pid()), "fd"))
	if err != nil {
		w.t.Fatal(err)
	}
	children, err := os.ReadFile(filepath.Join("/proc", itoa(w.client.Pid()), "task", itoa(w.client.Pid()), "children"))
	if err != nil {
		w.t.Fatal(err)
	}
	own, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		w.t.Fatal(err)
	}
	return fmt.Sprintf("spawner: %d fds, %d children; server: %d fds", len(fds), len(strings.Fields(string(children))), len(own))
}

// TestNothingLeaks: a thousand processes, some of which fail.
func TestNothingLeaks(t *testing.T) {
	w := newWorld(t, 64)
	life := func(i int) {
		var p *Process
		switch i % 4 {
		case 0:
			p = w.spawn(hostPlan("true"))
		case 1:
			p = w.spawn(&plan.Plan{Steps: []plan.Step{execHost("/nosuch", "x")}})
		case 2:
			if p, err := w.try(&plan.Plan{}); err == nil {
				t.Fatalf("an empty plan made process %d", p.Pid)
			}
			return
		case 3:
			p = w.spawn(&plan.Plan{
				Files: []plan.File{{Kind: plan.FileStdout}},
				Steps: []plan.Step{{Op: plan.OpDup, A: 1}, execHost(busybox, "true")},
			})
		}
		_, _ = p.Sync(w.context())
		w.exit(p)
		p.Close()
	}
	life(0)
	before := w.count()
	for i := range 1000 {
		life(i)
	}
	if after := w.count(); after != before {
		t.Errorf("before: %s\nafter:  %s", before, after)
	}
	if n := len(w.client.procs) + len(w.client.waiting); n != 0 {
		t.Errorf("the client still knows %d processes or answers", n)
	}
	if h := w.header(); h.High > 3 {
		t.Errorf("%d slots were used for one process at a time", h.High-1)
	}
}

// TestManyAtOnce: 64 racing lives; every exit is its own.
func TestManyAtOnce(t *testing.T) {
	w := newWorld(t, 128)
	done := make(chan error)
	for i := range 64 {
		go func() {
			p, err := w.client.Spawn(context.Background(), Request{Key: uint64(i + 1), Plan: hostPlan("sh", "-c", "exit "+itoa(i))})
			if err == nil {
				_, err = p.Sync(context.Background())
				err = errors.Join(err, p.Close())
			}
			done <- err
		}()
	}
	for range 64 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	for range 64 {
		e := <-w.exits
		if e.Status != int(e.Key)-1 {
			t.Errorf("exit of key %d is %d, want %d", e.Key, e.Status, e.Key-1)
		}
		if err := w.client.Ack(e); err != nil {
			t.Error(err)
		}
	}
}
