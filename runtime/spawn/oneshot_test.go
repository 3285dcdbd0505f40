// SPDX-License-Identifier: Apache-2.0

package spawn

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"foundry/runtime/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func once(t *testing.T, p *plan.Plan, fifo string, files []*os.File) (*Process, string, error) {
	t.Helper()
	requireRoot(t)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	slots := filepath.Join(t.TempDir(), "slots")
	proc, err := OneShot(ctx, OneShotConfig{Plan: p, Files: files, Slots: slots, Fifo: fifo})
	if err == nil {
		t.Cleanup(func() { proc.Close() })
	}
	return proc, slots, err
}

// reaped waits for a child of ours, which a one-shot process is.
func reaped(t *testing.T, p *Process) unix.WaitStatus {
	t.Helper()
	var status unix.WaitStatus
	if _, err := unix.Wait4(p.Pid, &status, 0, nil); err != nil {
		t.Fatalf("wait for %d: %v", p.Pid, err)
	}
	return status
}

func TestOneShot(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "start")
	ctx := context.Background()
	c := newContainer(t, "sh", "-c", "exit 33")
	c.facts.Hooks = true
	p, slots, err := once(t, c.plan(t), fifo, make([]*os.File, 3))
	must(t, err)
	w := &world{t: t}
	w.reach(p, PointHooks)
	must(t, p.Go())
	w.reach(p, PointReady)
	must(t, StartOneShot(ctx, slots, fifo))
	w.reach(p, PointExec)
	if status := reaped(t, p); status.ExitStatus() != 33 {
		t.Errorf("status %d, want 33", status.ExitStatus())
	}
	if err := StartOneShot(ctx, slots, fifo); !errors.Is(err, ErrNotWaiting) {
		t.Errorf("started twice: %v, want ErrNotWaiting", err)
	}
}

func TestOneShotKilledBeforeStart(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "start")
	p, slots, err := once(t, newContainer(t, "true").plan(t), fifo, make([]*os.File, 3))
	must(t, err)
	w := &world{t: t}
	w.reach(p, PointReady)
	must(t, p.Signal(syscall.SIGTERM))
	if status := reaped(t, p); status.ExitStatus() != 143 {
		t.Errorf("status %d, want 143", status.ExitStatus())
	}
	if err := StartOneShot(context.Background(), slots, fifo); !errors.Is(err, ErrNotWaiting) {
		t.Errorf("got %v, want ErrNotWaiting", err)
	}
}

func TestOneShotStartFails(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "start")
	c := newContainer(t, "/bin/gone")
	must(t, os.WriteFile(filepath.Join(c.facts.Rootfs, "bin/gone"), []byte("#!/nosuch\n"), 0o755))
	p, slots, err := once(t, c.plan(t), fifo, make([]*os.File, 3))
	must(t, err)
	w := &world{t: t}
	w.reach(p, PointReady)
	if err, want := StartOneShot(context.Background(), slots, fifo), `exec "/bin/gone": no such file or directory`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	reaped(t, p)
}

func TestOneShotExec(t *testing.T) {
	c := newContainer(t, "sleep", "1000")
	init, _, err := once(t, c.plan(t), "", make([]*os.File, 3))
	must(t, err)
	w := &world{t: t}
	w.run(init)
	p := c.exec(t, specs.Process{}, "sh", "-c", "exit 8")
	proc, _, err := once(t, p, "", filesOf(p, nil, init.Pidfd))
	must(t, err)
	w.run(proc)
	if status := reaped(t, proc); status.ExitStatus() != 8 {
		t.Errorf("status %d, want 8", status.ExitStatus())
	}
	must(t, init.Signal(syscall.SIGKILL))
	reaped(t, init)
}

func TestOneShotRefused(t *testing.T) {
	c := newContainer(t, "true")
	p := c.plan(t)
	p.Steps[0] = plan.Step{Op: plan.OpUmask, FD: -1, A: 0o7777}
	_, slots, err := once(t, p, "", make([]*os.File, len(p.Files)))
	if err == nil || !strings.Contains(err.Error(), "step 0 (umask, op 28): mask out of range: Invalid argument") {
		t.Errorf("got %v, want that the plan is refused", err)
	}
	if _, err := os.Stat(slots); err == nil {
		t.Error("the slot file is left behind")
	}
}
