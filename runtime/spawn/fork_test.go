// SPDX-License-Identifier: Apache-2.0

package spawn

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"foundry/runtime/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// slowForks is a spawner whose intermediates stay for a while after they have
// made their child.
func slowForks(t *testing.T, microseconds int) *world {
	t.Helper()
	return compiledWorld(t, "-DSLOW_FORK="+itoa(microseconds))
}

// compiledWorld has a spawner that is compiled with a flag.
func compiledWorld(t *testing.T, flag string) *world {
	t.Helper()
	requireRoot(t)
	sources, err := filepath.Glob("c/*.c")
	must(t, err)
	binary, err := os.ReadFile(compile(t, "", append(sources, flag)...))
	must(t, err)
	return newWorldWith(t, 64, func(w *world) { w.binary = binary })
}

// TestChildEndsBeforeIntermediate: the exit of a process of which nobody has
// heard yet is told after its birth.
func TestChildEndsBeforeIntermediate(t *testing.T) {
	w := slowForks(t, 30000)
	c := newContainer(t, "sleep", "1000")
	init := w.spawn(c.plan(t))
	w.run(init)
	p := c.exec(t, specs.Process{}, "sh", "-c", "exit 44")
	proc := w.enter(p, init)
	w.run(proc)
	if e := w.exit(proc); e.Status != 44 || e.Pid != proc.Pid {
		t.Errorf("got %+v, want status 44 of %d", e, proc.Pid)
	}
	if err := proc.Signal(syscall.SIGKILL); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("signal: %v, want that it is done", err)
	}
	insertAfter(p, plan.OpFork, plan.Step{Op: plan.OpSysctl, FD: -1, S: [4]string{"kernel/nosuch", "1"}})
	proc = w.enter(p, init)
	var stage *StageError
	if _, err := proc.Sync(w.context()); !errors.As(err, &stage) || stage.Op != plan.OpSysctl {
		t.Errorf("got %v, want the failure of the sysctl step", err)
	}
	if e := w.exit(proc); e.Status != 1 {
		t.Errorf("got %+v, want status 1", e)
	}
	if n := w.header().Orphans; n != 0 {
		t.Errorf("%d orphans, want none", n)
	}
}

func insertAfter(p *plan.Plan, after plan.Op, s plan.Step) {
	for i := range p.Steps {
		if p.Steps[i].Op == after {
			p.Steps = append(p.Steps[:i+1:i+1], append([]plan.Step{s}, p.Steps[i+1:]...)...)
			return
		}
	}
	panic("no such step")
}

// TestIntermediateKilled: its child, of which nobody was told, is killed.
func TestIntermediateKilled(t *testing.T) {
	w := slowForks(t, 20_000_000)
	c := newContainer(t, "sleep", "1000")
	init := w.spawn(c.plan(t))
	w.run(init)
	p := c.exec(t, specs.Process{}, "sleep", "1000")
	failed := make(chan error)
	key := w.keys.Add(1)
	go func() {
		_, err := w.client.Spawn(w.context(), Request{Key: key, Plan: p, Files: filesOf(p, nil, init.Pidfd)})
		failed <- err
	}()
	page := w.client.slots.page(2)
	eventually(t, "fork", func() bool { return page.Child != 0 })
	child, err := unix.PidfdOpen(int(page.Child), 0)
	must(t, err)
	defer unix.Close(child)
	must(t, unix.Kill(int(page.Pid), unix.SIGKILL))
	if err := <-failed; err == nil || err.Error() != "stage was killed: interrupted system call" {
		t.Errorf("got %v, want that the stage was killed", err)
	}
	eventually(t, "death of the child", func() bool {
		return errors.Is(unix.PidfdSendSignal(child, 0, nil, 0), unix.ESRCH)
	})
	if list := w.list(); len(list) != 1 {
		t.Errorf("slots in use: %+v, want init's alone", list)
	}
	if len(w.exits) != 0 {
		t.Errorf("a process that never was has an exit: %+v", <-w.exits)
	}
}

// TestUpgradeDuringFork: the answer to a Spawn is given by the next spawner.
func TestUpgradeDuringFork(t *testing.T) {
	w := slowForks(t, 300_000)
	c := newContainer(t, "sleep", "1000")
	init := w.spawn(c.plan(t))
	w.run(init)
	p := c.exec(t, specs.Process{}, "sh", "-c", "exit 45")
	key := w.keys.Add(1)
	born := make(chan *Process)
	go func() {
		proc, err := w.client.Spawn(w.context(), Request{Key: key, Plan: p, Files: filesOf(p, nil, init.Pidfd)})
		if err != nil {
			t.Error(err)
		}
		born <- proc
	}()
	page := w.client.slots.page(2)
	eventually(t, "fork", func() bool { return page.Child != 0 })
	must(t, w.client.Upgrade(w.context(), w.binary))
	proc := <-born
	if proc == nil {
		return
	}
	defer proc.Close()
	w.run(proc)
	if e := w.exit(proc); e.Status != 45 {
		t.Errorf("got %+v, want status 45", e)
	}
}

// TestManyExecs: hundreds of racing execs in one container.
func TestManyExecs(t *testing.T) {
	w := newWorld(t, 128)
	c := newContainer(t, "sleep", "1000")
	init := w.spawn(c.plan(t))
	w.run(init)
	before := w.count()
	const all, atOnce = 300, 16
	room := make(chan struct{}, atOnce)
	for i := range all {
		go func() {
			p := c.exec(t, specs.Process{}, "sh", "-c", "exit "+itoa(i%200))
			proc, err := w.client.Spawn(w.context(), Request{Key: uint64(1000 + i), Plan: p, Files: filesOf(p, nil, init.Pidfd)})
			if err != nil {
				t.Error(err)
				w.exits <- Exit{Key: uint64(1000 + i), Status: i % 200}
				return
			}
			if _, err := proc.Sync(w.context()); err != nil {
				t.Error(err)
			}
			proc.Close()
		}()
		room <- struct{}{}
		if len(room) == atOnce {
			w.takeExec(room)
		}
	}
	for len(room) > 0 {
		w.takeExec(room)
	}
	eventually(t, "closing of all descriptors", func() bool { return w.count() == before })
}

func (w *world) takeExec(room chan struct{}) {
	w.t.Helper()
	e := <-w.exits
	<-room
	if want := (int(e.Key) - 1000) % 200; e.Status != want {
		w.t.Errorf("exec %d: status %d, want %d", e.Key, e.Status, want)
	}
	_ = w.client.Ack(e)
}

// TestFilter: errors of a stage under a filter that allows next to nothing
// still arrive.
func TestFilter(t *testing.T) {
	w := newWorld(t, 16)
	c := newContainer(t, "true")
	c.spec.Process.NoNewPrivileges = true
	// Loads the number of the call; execve (59) gives EXDEV, write (1) kills.
	c.facts.Seccomp = program(
		unix.SockFilter{Code: 0x20},
		unix.SockFilter{Code: 0x15, Jt: 2, K: unix.SYS_EXECVE},
		unix.SockFilter{Code: 0x15, Jt: 2, K: unix.SYS_WRITE},
		unix.SockFilter{Code: 0x06, K: 0x7fff0000},
		unix.SockFilter{Code: 0x06, K: 0x00050000 | uint32(unix.EXDEV)},
		unix.SockFilter{Code: 0x06, K: 0x80000000},
	)
	p := w.spawn(c.plan(t))
	w.reach(p, PointReady)
	must(t, p.Go())
	if _, err := p.Sync(w.context()); err == nil || err.Error() != `exec "/bin/true": invalid cross-device link` {
		t.Errorf("got %v, want what the filter says of execve", err)
	}
	w.exit(p)
	c.facts.Seccomp = program(unix.SockFilter{Code: 0x06, K: 0x7fff0000})
	if got, e := w.output(newContainer(t, "true").plan(t), nil); e.Status != 0 {
		t.Errorf("a filter that allows all: %q, %+v", got, e)
	}
}

func program(filters ...unix.SockFilter) []byte {
	var out []byte
	for _, f := range filters {
		out = append(out, byte(f.Code), byte(f.Code>>8), f.Jt, f.Jf, byte(f.K), byte(f.K>>8), byte(f.K>>16), byte(f.K>>24))
	}
	return out
}
