// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"foundry/runtime/journal"
	"foundry/runtime/plan"
	"foundry/runtime/spawn"
)

// victim is what a server that is to be killed does; it crosses to the
// subprocess as JSON in the environment.
type victim struct {
	Dir, Root string
	IDs       []string
	Rootfs    []plan.Mount
	// KillAt is the number of the step after which the server kills itself; 0: never.
	KillAt int
	// Until is how far the containers are taken: "created", "started",
	// "paused", "exited" (the exit is known but not acknowledged),
	// "acknowledged", "deleted".
	Until string
}

const (
	roleEnv   = "FOUNDRY_RUNTIME_TEST_ROLE"
	victimEnv = "FOUNDRY_RUNTIME_TEST_VICTIM"
)

// boot makes this process the spawner of v's server.
func (v victim) boot(ready *os.File) error {
	if err := os.Setenv(roleEnv, "serve"); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return spawn.Boot(spawn.BootConfig{Slots: filepath.Join(v.Root, "slots"), Server: []string{self}, Ready: ready})
}

// serve is the life of the server. It ends in SIGKILL, or in having written
// the steps that it passed.
func (v victim) serve(conn, slots *os.File) error {
	var steps []string
	rt, _, err := connect(Config{Root: v.Root, step: func(name string) {
		steps = append(steps, name)
		if len(steps) == v.KillAt {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}}, conn, slots)
	if err != nil {
		return err
	}
	for _, id := range v.IDs {
		if err := v.life(rt, id); err != nil {
			return err
		}
	}
	if v.Until != "deleted" {
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	return os.WriteFile(filepath.Join(v.Dir, "steps"), []byte(strings.Join(steps, "\n")), 0o600)
}

func (v victim) life(rt *Runtime, id string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	exits := make(chan Exit, 1)
	c, err := rt.Create(ctx, CreateConfig{
		Namespace: "test", ID: id, Bundle: filepath.Join(v.Dir, "bundles", id), Rootfs: v.Rootfs, OnExit: func(e Exit) { exits <- e },
	})
	if err != nil || v.Until == "created" {
		return err
	}
	if err := c.Start(ctx); err != nil {
		return err
	}
	if v.Until == "paused" {
		if _, err := c.Exec(ctx, ExecConfig{ID: "e", Process: c.Spec().Process}); err != nil {
			return err
		}
		return c.Pause(ctx)
	}
	if v.Until == "started" {
		return nil
	}
	e := <-exits
	if v.Until == "exited" {
		return nil
	}
	if err := e.Ack(); err != nil || v.Until == "acknowledged" {
		return err
	}
	return c.Delete(ctx)
}

// runVictim runs v under a spawner of its own and returns the spawner when the
// server is dead. The spawner leaves by itself once nothing that it started
// lives; the end of the test waits for that.
func runVictim(t *testing.T, v victim) (spawner *os.Process) {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	ready, theirs, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer ready.Close()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), roleEnv+"=boot", victimEnv+"="+string(data))
	cmd.ExtraFiles = []*os.File{theirs}
	err = cmd.Start()
	theirs.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		overdue := time.AfterFunc(patience, func() {
			t.Error("the spawner did not leave")
			cmd.Process.Kill()
		})
		cmd.Wait() // by a signal in TestReclaimWithoutSpawner
		overdue.Stop()
	})
	// The server holds its end of the pipe until its death.
	ready.SetReadDeadline(time.Now().Add(patience))
	if said, err := io.ReadAll(ready); err != nil || len(said) > 0 {
		t.Fatalf("server: %q, %v", said, err)
	}
	return cmd.Process
}

// crashWorld makes the bundles for victims.
func crashWorld(t *testing.T, ids []string, change func(*specs.Spec)) (place, victim) {
	t.Helper()
	requireRoot(t)
	w := &world{t: t, place: newPlace(t), image: image(t)}
	if err := os.Chmod(filepath.Dir(w.dir), 0o755); err != nil { // as containerd's: other users find the bundles
		t.Fatal(err)
	}
	for _, id := range ids {
		spec := w.spec(id, "sh", "-c", "exit 7")
		change(spec)
		w.bundle(id, spec)
	}
	return w.place, victim{Dir: w.dir, Root: w.root, IDs: ids, Rootfs: w.rootfs()}
}

func (p place) reclaim(t *testing.T, id string) (Exit, bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	e, found, err := Reclaim(ctx, ReclaimConfig{Root: p.root, Namespace: "test", ID: id, Bundle: filepath.Join(p.dir, "bundles", id)})
	if err != nil {
		t.Error(err)
	}
	return e, found
}

// A server that is killed after any step of a container's life leaves nothing
// that Reclaim does not find.
func TestServerKilledAtEachStep(t *testing.T) {
	plain := func(s *specs.Spec) {
		s.Hooks = &specs.Hooks{
			CreateRuntime: []specs.Hook{hook(t, "exit 0")},
			Poststop:      []specs.Hook{hook(t, `echo >>"$PWD/stopped"`)},
		}
	}
	killedAtEachStep(t, plain)
}

func killedAtEachStep(t *testing.T, change func(*specs.Spec)) {
	t.Helper()
	all, v := crashWorld(t, []string{"victim"}, change)
	v.Until = "deleted"
	runVictim(t, v)
	text, err := os.ReadFile(filepath.Join(all.dir, "steps"))
	if err != nil {
		t.Fatal(err)
	}
	steps := strings.Split(string(text), "\n")
	t.Logf("%d steps: %q", len(steps), steps)
	for i, step := range steps {
		t.Run(fmt.Sprint(i+1, " ", step), func(t *testing.T) {
			p, v := crashWorld(t, []string{"victim"}, change)
			v.Until, v.KillAt = "deleted", i+1
			runVictim(t, v)
			_, found := p.reclaim(t, "victim")
			if want := step != "undo: remove journal"; found != want {
				t.Errorf("found: got %v, want %v", found, want)
			}
			if left := p.traces(t); left != nil {
				t.Errorf("left behind: %v", left)
			}
			if _, found := p.reclaim(t, "victim"); found {
				t.Error("found again")
			}
			_, err := os.Stat(filepath.Join(p.dir, "bundles", "victim", "stopped"))
			if begun := i >= slices.Index(steps, "hooks"); begun != (err == nil) {
				t.Errorf("poststop hook: got %v, create hooks were begun: %v", err, begun)
			}
		})
	}
}

// Whoever of slot file and journal has the exit, Reclaim tells it.
func TestReclaimTellsTheExit(t *testing.T) {
	for _, tt := range []struct {
		until  string
		status int
	}{{"created", 137}, {"exited", 7}, {"acknowledged", 7}} {
		t.Run(tt.until, func(t *testing.T) {
			p, v := crashWorld(t, []string{"victim"}, func(*specs.Spec) {})
			v.Until = tt.until
			runVictim(t, v)
			before := time.Now()
			e, found := p.reclaim(t, "victim")
			if !found || e.Status != tt.status || e.Pid == 0 {
				t.Errorf("got %+v, %v; want status %d", e, found, tt.status)
			}
			if d := before.Sub(e.At); d > patience || d < -patience {
				t.Errorf("it ended %v before it was reclaimed", d)
			}
		})
	}
}

// With the spawner dead too, what it had started is found by journal and cgroup.
func TestReclaimWithoutSpawner(t *testing.T) {
	p, v := crashWorld(t, []string{"one", "two"}, func(s *specs.Spec) { s.Process.Args = []string{"sleep", "60"} })
	v.Until = "started"
	if err := runVictim(t, v).Kill(); err != nil {
		t.Fatal(err)
	}
	if e, found := p.reclaim(t, "one"); !found || e.Status != 137 {
		t.Errorf("got %+v, %v", e, found)
	}
	left := p.traces(t)
	if !slices.ContainsFunc(left, func(s string) bool { return strings.HasPrefix(s, "process ") }) {
		t.Errorf("left: %v; the sibling's process is gone", left)
	}
	if slices.ContainsFunc(left, func(s string) bool { return strings.HasSuffix(s, "/one") }) {
		t.Errorf("left of the first: %v", left)
	}
	p.reclaim(t, "two")
}

// A poststop hook that hangs costs its container's delete the time that it
// has, but nothing is left.
func TestReclaimWithAHangingHook(t *testing.T) {
	p, v := crashWorld(t, []string{"victim"}, func(s *specs.Spec) {
		s.Hooks = &specs.Hooks{Poststop: []specs.Hook{hook(t, "exec sleep 60")}}
	})
	v.Until = "created"
	runVictim(t, v)
	ctx, cancel := context.WithTimeout(t.Context(), removeTime+500*time.Millisecond)
	defer cancel()
	_, found, err := Reclaim(ctx, ReclaimConfig{Root: p.root, Namespace: "test", ID: "victim", Bundle: filepath.Join(p.dir, "bundles", "victim")})
	if !found || err != nil || ctx.Err() != nil {
		t.Errorf("got %v, %v, %v; want it done in time", found, err, ctx.Err())
	}
	if left := p.traces(t); left != nil {
		t.Errorf("left behind: %v", left)
	}
}

// The v1 freezer holds back even the SIGKILL of its processes.
func TestReclaimOfPaused(t *testing.T) {
	p, v := crashWorld(t, []string{"victim"}, func(s *specs.Spec) { s.Process.Args = []string{"sleep", "60"} })
	v.Until = "paused"
	runVictim(t, v)
	begin := time.Now()
	if e, found := p.reclaim(t, "victim"); !found || e.Status != 137 {
		t.Errorf("got %+v, %v", e, found)
	}
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("it took %v", took)
	}
	if left := p.traces(t); left != nil {
		t.Errorf("left behind: %v", left)
	}
}

// containerd calls delete for all containers of a dead server at once and
// gives them five seconds together.
func TestReclaimManyAtOnce(t *testing.T) {
	var ids []string
	for i := range 40 {
		ids = append(ids, fmt.Sprint("c", i))
	}
	p, v := crashWorld(t, ids, func(s *specs.Spec) { s.Process.Args = []string{"sleep", "60"} })
	v.Until = "started"
	runVictim(t, v)
	done := make(chan string)
	begin := time.Now()
	for _, id := range ids {
		go func() {
			if _, found := p.reclaim(t, id); !found {
				t.Errorf("%s was not found", id)
			}
			done <- id
		}()
	}
	for range ids {
		<-done
	}
	t.Logf("%d containers took %v", len(ids), time.Since(begin))
	if left := p.traces(t); left != nil {
		t.Errorf("left behind: %v", left)
	}
}

func TestReclaimOfNothing(t *testing.T) {
	dir := t.TempDir()
	if _, found, err := Reclaim(t.Context(), ReclaimConfig{Root: dir, Namespace: "test", ID: "x", Bundle: dir}); found || err != nil {
		t.Errorf("got %v, %v", found, err)
	}
	empty, err := journal.Dir(dir, "test", "x")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(empty, 0o700); err != nil { // it died before it had a journal
		t.Fatal(err)
	}
	if _, found, err := Reclaim(t.Context(), ReclaimConfig{Root: dir, Namespace: "test", ID: "x", Bundle: dir}); found || err != nil {
		t.Errorf("no journal: got %v, %v", found, err)
	}
	if _, err := os.Stat(empty); err == nil {
		t.Error("the journal's directory is left")
	}
	j, err := journal.Create(empty) // the server died before its first line
	if err != nil {
		t.Fatal(err)
	}
	j.Close()
	if _, found, err := Reclaim(t.Context(), ReclaimConfig{Root: dir, Namespace: "test", ID: "x", Bundle: dir}); !found || err != nil {
		t.Errorf("empty journal: got %v, %v", found, err)
	}
	if _, found, err := Reclaim(t.Context(), ReclaimConfig{Namespace: "test", ID: "x", Bundle: dir}); found || err != nil {
		t.Errorf("no pointer: got %v, %v", found, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "foundry"), []byte("here\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Reclaim(t.Context(), ReclaimConfig{Namespace: "test", ID: "x", Bundle: dir}); err == nil {
		t.Error("a pointer that is no path: no error")
	}
	if _, _, err := Reclaim(t.Context(), ReclaimConfig{Root: dir, Namespace: "test", ID: "../x", Bundle: dir}); !errors.Is(err, ErrInvalid) {
		t.Errorf("a name that leaves the directory: got %v", err)
	}
}

// A live server has the journal locked: delete waits for it, and does nothing.
func TestReclaimWaitsForTheServer(t *testing.T) {
	w := newWorld(t)
	b := w.start("held", "sleep", "60")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, _, err := Reclaim(ctx, ReclaimConfig{Root: w.root, Namespace: "test", ID: "held", Bundle: b.bundle})
	if !errors.Is(err, context.DeadlineExceeded) || !alive(b.Pid()) {
		t.Errorf("got %v, alive %v", err, alive(b.Pid()))
	}
}
