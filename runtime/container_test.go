// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func TestLife(t *testing.T) {
	w := newWorld(t)
	b := w.create("life", w.spec("life", "sh", "-c", "echo hello; echo oops >&2; exit 42"))
	if b.Pid() <= 0 || b.Terminal() != nil {
		t.Errorf("got pid %d, terminal %v", b.Pid(), b.Terminal())
	}
	if pids, err := b.Pids(); err != nil || !slices.Equal(pids, []int{b.Pid()}) {
		t.Errorf("created: got pids %v, %v; want init's alone", pids, err)
	}
	before := time.Now()
	if err := b.Start(ctx(t)); err != nil {
		t.Fatal(err)
	}
	e := b.wait()
	if e.Status != 42 || e.Signal != 0 || e.Pid != b.Pid() {
		t.Errorf("got exit %+v, want status 42 of process %d", e, b.Pid())
	}
	if d := e.At.Sub(before); d < 0 || d > patience {
		t.Errorf("exit is %v after the start", d)
	}
	if got, want := b.out.text(), "hello\noops\n"; got != want {
		t.Errorf("got output %q, want %q", got, want)
	}
	for range 2 {
		if err := b.Delete(ctx(t)); err != nil {
			t.Fatal(err)
		}
	}
	if w.Container("test", "life") != nil {
		t.Error("a deleted container is still known")
	}
}

func TestExitStatus(t *testing.T) {
	w := newWorld(t)
	for i, tt := range []struct {
		script         string
		status, signal int
	}{
		{"exit 0", 0, 0},
		{"exit 255", 255, 0},
		{"kill -9 $$; sleep 60", 137, 9},
		{"kill -15 $$; sleep 60", 143, 15},
	} {
		t.Run(tt.script, func(t *testing.T) {
			// pid 1 of a pid namespace is deaf to its own signals
			spec := w.spec(fmt.Sprint("exit", i), "sh", "-c", "sh -c '"+tt.script+"'; exit $?")
			b := w.create(fmt.Sprint("exit", i), spec)
			if err := b.Start(ctx(t)); err != nil {
				t.Fatal(err)
			}
			if got := b.wait(); got.Status != tt.status {
				t.Errorf("init: got status %d, want %d", got.Status, tt.status)
			}
			b = w.start(fmt.Sprint("sleep", i), "sleep", "60")
			if got, _ := b.exec("sh", "-c", tt.script); got.Status != tt.status || got.Signal != tt.signal {
				t.Errorf("exec: got %+v, want status %d, signal %d", got, tt.status, tt.signal)
			}
		})
	}
}

func TestSecondCreateIsRefused(t *testing.T) {
	w := newWorld(t)
	w.create("twice", w.spec("twice", "true"))
	_, err := w.tryCreate("twice", w.spec("twice", "true"))
	if !errors.Is(err, ErrExists) {
		t.Errorf("got %v, want ErrExists", err)
	}
	if want := `create "twice": container already exists`; errText(err) != want {
		t.Errorf("got %q, want %q", errText(err), want)
	}
}

func TestStartTwice(t *testing.T) {
	w := newWorld(t)
	b := w.start("started", "sleep", "60")
	if err := b.Start(ctx(t)); !errors.Is(err, ErrState) {
		t.Errorf("got %v, want ErrState", err)
	}
	if err := b.Kill(ctx(t), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if e := b.wait(); e.Status != 137 || e.Signal != 9 {
		t.Errorf("got %+v, want killed", e)
	}
	if err := b.Kill(ctx(t), syscall.SIGKILL); !errors.Is(err, ErrNotRunning) {
		t.Errorf("kill the dead: got %v, want ErrNotRunning", err)
	}
	if _, err := b.Exec(ctx(t), ExecConfig{ID: "e", Process: process("true")}); !errors.Is(err, ErrNotRunning) {
		t.Errorf("exec in the dead: got %v, want ErrNotRunning", err)
	}
	if _, err := b.Stats(); err != nil {
		t.Errorf("stats of the dead: %v", err)
	}
	if pids, err := b.Pids(); err != nil || len(pids) != 0 {
		t.Errorf("pids of the dead: got %v, %v", pids, err)
	}
}

// A created container is pid 1 of its namespace, which ignores signals that
// it has no handler for; it dies of SIGTERM all the same.
func TestCreatedDiesOfSIGTERM(t *testing.T) {
	w := newWorld(t)
	b := w.create("created", w.spec("created", "sleep", "60"))
	if err := b.Kill(ctx(t), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if e := b.wait(); e.Status == 0 {
		t.Errorf("got %+v, want a status that is not 0", e)
	}
	if err := b.Start(ctx(t)); !errors.Is(err, ErrNotRunning) {
		t.Errorf("start the dead: got %v, want ErrNotRunning", err)
	}
}

func TestCreateFails(t *testing.T) {
	w := newWorld(t)
	for i, tt := range []struct {
		name   string
		change func(*specs.Spec)
		want   []string
	}{
		{"missing program", func(s *specs.Spec) { s.Process.Args = []string{"nothing"} }, []string{`"nothing"`, "not found"}},
		{"missing absolute program", func(s *specs.Spec) { s.Process.Args = []string{"/nothing"} }, []string{"/nothing", "no such file"}},
		{"missing namespace", func(s *specs.Spec) {
			s.Linux.Namespaces = append(s.Linux.Namespaces[:4:4], specs.LinuxNamespace{Type: "network", Path: "/nothing"})
		}, []string{"open namespace", "/nothing", "no such file"}},
		{"namespace of another type", func(s *specs.Spec) {
			s.Linux.Namespaces = append(s.Linux.Namespaces[:4:4], specs.LinuxNamespace{Type: "network", Path: "/proc/self/ns/uts"})
		}, []string{"/proc/self/ns/uts: not a namespace of type 0x40000000"}},
		{"unknown file system", func(s *specs.Spec) {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/mnt", Type: "nofs", Source: "x"})
		}, []string{"nofs", "/mnt", "the kernel does not know this file system"}},
		{"unknown sysctl", func(s *specs.Spec) { s.Linux.Sysctl = map[string]string{"net.ipv4.nothing": "1"} }, []string{"net/ipv4/nothing"}},
		{"property that we lack", func(s *specs.Spec) { s.Linux.IntelRdt = &specs.LinuxIntelRdt{} }, []string{"linux.intelRdt", "not supported yet"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			id := fmt.Sprint("fails", i)
			spec := w.spec(id, "true")
			tt.change(spec)
			_, err := w.tryCreate(id, spec)
			if err == nil {
				t.Fatal("it was created")
			}
			t.Log(err)
			if !strings.HasPrefix(err.Error(), fmt.Sprintf("create %q: ", id)) {
				t.Errorf("got %q: does not say what failed", err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %q, want it to have %q", err, want)
				}
			}
			if left := w.traces(t); left != nil {
				t.Errorf("left behind: %v", left)
			}
			if w.Container("test", id) != nil {
				t.Error("the container is known")
			}
		})
	}
}

func TestDeleteOfThePaused(t *testing.T) {
	w := newWorld(t)
	b := w.start("frozen", "sleep", "60")
	if err := b.Pause(ctx(t)); err != nil {
		t.Fatal(err)
	}
	if err := b.Delete(ctx(t)); err != nil {
		t.Fatal(err)
	}
	b.wait()
}

func TestKillAll(t *testing.T) {
	w := newWorld(t)
	b := w.start("all", "sh", "-c", "trap 'exit 5' TERM; sleep 60 & wait")
	b.exec("true") // by now the shell runs; its trap is set a moment later
	eventually(t, "the shell's child", func() bool { pids, _ := b.Pids(); return len(pids) == 2 })
	if err := b.KillAll(ctx(t), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if e := b.wait(); e.Status != 5 {
		t.Errorf("got %+v, want the trap's 5", e)
	}
	b = w.start("all9", "sh", "-c", "sleep 60 & wait")
	if err := b.Pause(ctx(t)); err != nil {
		t.Fatal(err)
	}
	if err := b.KillAll(ctx(t), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if pids, err := b.Pids(); err != nil || len(pids) != 0 {
		t.Errorf("got pids %v, %v; want none", pids, err)
	}
	b.wait()
}

func TestUpdate(t *testing.T) {
	w := newWorld(t)
	b := w.start("update", "sleep", "60")
	limit := int64(64 << 20)
	if err := b.Update(ctx(t), &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &limit}}); err != nil {
		t.Fatal(err)
	}
	stats, err := b.Stats()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(fmt.Sprint(stats), fmt.Sprint(limit)) {
		t.Errorf("no limit of %d in %v", limit, stats)
	}
	if n, err := b.OOMKills(); err != nil || n != 0 {
		t.Errorf("got %d OOM kills, %v", n, err)
	}
}

func TestOOM(t *testing.T) {
	w := newWorld(t)
	spec := w.spec("oom", "dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1")
	limit := int64(8 << 20)
	spec.Linux.Resources.Memory = &specs.LinuxMemory{Limit: &limit, Swap: &limit}
	b := w.create("oom", spec)
	if err := b.Start(ctx(t)); err != nil {
		t.Fatal(err)
	}
	if e := b.wait(); e.Status != 137 {
		t.Errorf("got %+v, want killed", e)
	}
	if n, err := b.OOMKills(); err != nil || n != 1 {
		t.Errorf("got %d OOM kills, %v; want 1", n, err)
	}
	select {
	case id := <-w.ooms:
		if id != "oom" {
			t.Errorf("told of %q", id)
		}
	case <-time.After(patience):
		t.Error("nobody was told")
	}
}

// The server's group is no place for a container: its delete would take all with it.
func TestNotInTheServersGroup(t *testing.T) {
	w := newWorld(t)
	for _, where := range []string{w.ownGroup(), w.ownGroup() + "/server/x", "./" + w.ownGroup() + "//helpers"} {
		spec := w.spec("intruder", "true")
		spec.Linux.CgroupsPath = where
		_, err := w.Create(t.Context(), CreateConfig{Namespace: "test", ID: "intruder", Bundle: w.bundle("intruder", spec), Rootfs: w.rootfs()})
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "linux.cgroupsPath") {
			t.Errorf("%s: got %v, want it refused by name", where, err)
		}
	}
	if left := w.traces(t); left != nil {
		t.Errorf("left behind: %v", left)
	}
}
