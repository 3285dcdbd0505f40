// SPDX-License-Identifier: Apache-2.0

package spawn

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"foundry/runtime/plan"

	"golang.org/x/sys/unix"
)

func requireRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: needs root")
	}
}

// world is a spawner under test, with this process as its server.
type world struct {
	t      testing.TB
	cmd    *exec.Cmd
	binary []byte // of the spawner
	client *Client
	slots  string
	exits  chan Exit
	keys   atomic.Uint64
}

// newWorld starts a spawner with n slots. At the end of the test all its
// processes are killed, and it must have left by itself.
func newWorld(t testing.TB, n int) *world {
	t.Helper()
	return newWorldWith(t, n, func(*world) {})
}

func newWorldWith(t testing.TB, n int, change func(*world)) *world {
	t.Helper()
	requireRoot(t)
	w := &world{t: t, slots: filepath.Join(t.TempDir(), "slots"), exits: make(chan Exit, 4096), binary: spawnerBinary, cmd: exec.Command("/proc/self/fd/5", "-attach", "3", "4")}
	w.cmd.Stderr = os.Stderr
	change(w)
	slots, err := makeSlots(BootConfig{Slots: w.slots, SlotCount: n})
	if err != nil {
		t.Fatal(err)
	}
	conn := w.start(slots)
	if w.client, err = NewClient(conn, slots, func(e Exit) { w.exits <- e }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.stop)
	return w
}

// start runs a spawner and returns the server's end of its socket.
func (w *world) start(slots *os.File) *os.File {
	w.t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	program, err := executable(w.binary)
	if err != nil {
		w.t.Fatal(err)
	}
	defer program.Close()
	theirs := os.NewFile(uintptr(pair[1]), "theirs")
	defer theirs.Close()
	w.cmd.Args[0] = "foundry-spawner"
	w.cmd.ExtraFiles = []*os.File{theirs, slots, program}
	if err := w.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	return os.NewFile(uintptr(pair[0]), "ours")
}

func (w *world) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if list, err := w.client.List(ctx); err == nil {
		for _, l := range list {
			if l.Pidfd != nil {
				_ = unix.PidfdSendSignal(int(l.Pidfd.Fd()), unix.SIGKILL, nil, 0)
				l.Pidfd.Close()
			}
		}
	}
	w.client.Close()
	if w.cmd.Process == nil { // the test has seen its end
		return
	}
	kill := time.AfterFunc(10*time.Second, func() { _ = w.cmd.Process.Kill() })
	defer kill.Stop()
	if err := w.cmd.Wait(); err != nil {
		w.t.Errorf("spawner: %v", err)
	}
}

func (w *world) context() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	w.t.Cleanup(cancel)
	return ctx
}

func (w *world) spawn(p *plan.Plan, files ...*os.File) *Process {
	w.t.Helper()
	proc, err := w.try(p, files...)
	if err != nil {
		w.t.Fatal(err)
	}
	return proc
}

func (w *world) try(p *plan.Plan, files ...*os.File) (*Process, error) {
	w.t.Helper()
	for len(files) < len(p.Files) {
		files = append(files, nil)
	}
	proc, err := w.client.Spawn(w.context(), Request{Key: w.keys.Add(1), Plan: p, Files: files})
	if err == nil {
		w.t.Cleanup(func() { proc.Close() })
	}
	return proc, err
}

// reach follows a process to the point, through no other.
func (w *world) reach(p *Process, want Point) {
	w.t.Helper()
	if got, err := p.Sync(w.context()); err != nil || got != want {
		w.t.Fatalf("sync: got %v, %v; want %v", got, err, want)
	}
}

// exit returns the next exit, which must be that of p, and acknowledges it.
func (w *world) exit(p *Process) Exit {
	w.t.Helper()
	select {
	case e := <-w.exits:
		if e.Key != p.Key {
			w.t.Fatalf("exit of key %d, want %d", e.Key, p.Key)
		}
		if err := w.client.Ack(e); err != nil {
			w.t.Fatal(err)
		}
		return e
	case <-time.After(20 * time.Second):
		w.t.Fatalf("no exit of process %d", p.Pid)
	}
	panic("not reached")
}

const argOffset = unsafe.Offsetof(msg{}.Arg)

// hostPlan executes busybox on the host.
func hostPlan(args ...string) *plan.Plan {
	return &plan.Plan{Steps: []plan.Step{execHost("/bin/busybox", args...)}}
}

func execHost(path string, args ...string) plan.Step {
	return plan.Step{Op: plan.OpExecHost, FD: -1, S: [4]string{join(args), join([]string{"PATH=/bin"}), path}}
}

func join(list []string) string {
	out := ""
	for i, s := range list {
		if i > 0 {
			out += "\x00"
		}
		out += s
	}
	return out
}
