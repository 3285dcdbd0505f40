// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/oci"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"foundry/integration/env"
)

// In a crash containerd calls `delete` for every container at the same time,
// whatever it was doing. Each ends and cleans its own within the 5 s that
// containerd waits, knows what was recorded, and touches no other.
func TestCrashOfAMixedCrowd(t *testing.T) {
	requireFoundry(t)
	neighbour := env.Containerd(t, env.Config{})
	unharmed := startMany(t, neighbour, 3)
	for name, victim := range map[string]func(env.Server) int{
		"Server":  func(s env.Server) int { return s.Pid },
		"Spawner": func(s env.Server) int { return s.Spawner },
	} {
		t.Run(name, func(t *testing.T) { crash(t, victim) })
	}
	for _, task := range unharmed {
		wantStatus(t, neighbour, task, client.Running)
		neighbour.Exec(t, task, "/bin/true")
	}
}

func crash(t *testing.T, victim func(env.Server) int) {
	d := env.Containerd(t, env.Config{})
	events := watch(t, d)
	crowd := gather(t, d)
	server := d.Servers()[0]
	begin := time.Now()
	if err := syscall.Kill(victim(server), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for _, m := range crowd {
		events.until(t, m.id, "delete")
		// 255 is containerd's word for a `delete` that failed or was too slow.
		if got := events.code(m.id, "delete"); got != m.want {
			t.Errorf("%s: got status %d, want %d", m.id, got, m.want)
		}
		if env.Alive(m.pid) {
			t.Errorf("%s: process %d lives", m.id, m.pid)
		}
		if b, err := os.ReadFile(m.note); m.hook && strings.Count(string(b), m.id) != 1 {
			t.Errorf("%s: poststop hook wrote %q, %v, want its id once", m.id, b, err)
		}
	}
	t.Logf("all %d were deleted after %s", len(crowd), time.Since(begin).Round(10*time.Millisecond))
	d.CheckLeaks(t)
	if got := d.Run(t, d.Container(t, env.ContainerConfig{Args: []string{"/bin/sh", "-c", "exit 5"}})).Code(); got != 5 {
		t.Errorf("a container after the crash: got exit %d, want 5", got)
	}
	if s := d.Servers(); len(s) != 1 || s[0].Pid == server.Pid {
		t.Errorf("servers after the crash: got %v, want a new one", s)
	}
	env.Eventually(t, "the old server and spawner leave", func() bool {
		return !env.Alive(server.Spawner) && !env.Alive(server.Pid)
	})
}

// gather makes five of every kind.
func gather(t *testing.T, d *env.Daemon) (crowd []*member) {
	t.Helper()
	for round := range 5 {
		for _, kind := range crowdKinds {
			if kind.name == "HookHangs" && round > 0 {
				continue // it takes all the time that there is
			}
			m := &member{id: fmt.Sprint(strings.ToLower(kind.name), round), note: filepath.Join(t.TempDir(), "stopped")}
			crowd = append(crowd, m)
			m.want = kind.want
			kind.make(t, d, m)
		}
	}
	return crowd
}

// member is one container of the crowd.
type member struct {
	id   string
	pid  int
	want int    // status in its TaskDelete
	hook bool   // it has a poststop hook, which notes the id
	note string // the file that the hook writes to
}

// crowdKinds are what containers do when the crash comes.
var crowdKinds = []struct {
	name string
	want int
	make func(*testing.T, *env.Daemon, *member)
}{
	{"Plain", 137, func(t *testing.T, d *env.Daemon, m *member) { m.start(t, d) }},
	{"Execs", 137, func(t *testing.T, d *env.Daemon, m *member) {
		task := m.start(t, d)
		for i := range 2 {
			startExec(t, d, task, fmt.Sprint("e", i), "/bin/sleep", "100000")
		}
	}},
	{"Terminal", 137, func(t *testing.T, d *env.Daemon, m *member) {
		c := d.Container(t, env.ContainerConfig{ID: m.id, Args: []string{"/bin/sleep", "100000"}, Opts: []oci.SpecOpts{oci.WithTTY}})
		ctx := d.Context(t)
		task, err := c.NewTask(ctx, cio.NewCreator(cio.WithStreams(neverEnding{}, &env.Output{}, nil), cio.WithTerminal, cio.WithFIFODir(d.Dir+"/io")))
		if err == nil {
			err = task.Start(ctx)
		}
		if err != nil {
			t.Fatal(err)
		}
		m.pid = int(task.Pid())
	}},
	{"Paused", 137, func(t *testing.T, d *env.Daemon, m *member) {
		task := m.start(t, d)
		startExec(t, d, task, "e", "/bin/sleep", "100000")
		if err := task.Pause(d.Context(t)); err != nil {
			t.Fatal(err)
		}
	}},
	{"HostPids", 137, func(t *testing.T, d *env.Daemon, m *member) {
		task := m.start(t, d, oci.WithHostNamespace(specs.PIDNamespace),
			oci.WithProcessArgs("/bin/sh", "-c", "sleep 100000 & setsid sleep 100000 & wait"))
		startExec(t, d, task, "e", "/bin/sh", "-c", "trap '' TERM; setsid sleep 100000 & wait")
	}},
	{"Hooks", 137, func(t *testing.T, d *env.Daemon, m *member) {
		m.hook = true
		m.start(t, d, notesItsEnd(m))
	}},
	{"HookHangs", 137, func(t *testing.T, d *env.Daemon, m *member) {
		m.start(t, d, func(_ context.Context, _ oci.Client, _ *containers.Container, s *oci.Spec) error {
			s.Hooks = &specs.Hooks{Poststop: []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", hang(m.note)}}}}
			return nil
		})
		t.Cleanup(func() {
			if pid := hangs(t, m.note); env.Alive(pid) {
				t.Errorf("%s: its hook lives, process %d", m.id, pid)
				mustKill(t, pid, syscall.SIGKILL)
			}
		})
	}},
	{"Exited", 7, func(t *testing.T, d *env.Daemon, m *member) {
		m.hook = true
		task := m.start(t, d, oci.WithProcessArgs("/bin/sh", "-c", "exit 7"), notesItsEnd(m))
		env.Eventually(t, "it exits", func() bool {
			s, err := task.Status(d.Context(t))
			return err == nil && s.Status == client.Stopped
		})
	}},
	{"Created", 137, func(t *testing.T, d *env.Daemon, m *member) {
		task := d.Create(t, d.Container(t, env.ContainerConfig{ID: m.id}), nil)
		m.pid = int(task.Pid())
	}},
}

func (m *member) start(t *testing.T, d *env.Daemon, opts ...oci.SpecOpts) client.Task {
	t.Helper()
	c := d.Container(t, env.ContainerConfig{ID: m.id, Args: []string{"/bin/sleep", "100000"}, Opts: opts})
	ctx := d.Context(t)
	task, err := c.NewTask(ctx, nullIO)
	if err == nil {
		err = task.Start(ctx)
	}
	if err != nil {
		t.Fatalf("start %s: %v", m.id, err)
	}
	m.pid = int(task.Pid())
	return task
}

// startExec starts an exec and leaves it alone.
func startExec(t *testing.T, d *env.Daemon, task client.Task, id string, args ...string) client.Process {
	t.Helper()
	ctx := d.Context(t)
	spec, err := task.Spec(ctx)
	if err != nil {
		t.Fatal(err)
	}
	process := *spec.Process
	process.Args, process.Terminal = args, false
	p, err := task.Exec(ctx, id, &process, nullIO)
	if err == nil {
		err = p.Start(ctx)
	}
	if err != nil {
		t.Fatalf("exec %q in %q: %v", args, task.ID(), err)
	}
	return p
}

func notesItsEnd(m *member) oci.SpecOpts {
	script := fmt.Sprintf(`grep -o '"id":"[^"]*"' >> %s`, m.note)
	return func(_ context.Context, _ oci.Client, _ *containers.Container, s *oci.Spec) error {
		s.Hooks = &specs.Hooks{Poststop: []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", script}}}}
		return nil
	}
}

// The server is killed again and again, each time a little later in the course
// of parallel creates. Whatever half-made things that leaves, containerd's own
// means (delete what has a task, forget what has none) clear them away, and the
// next server serves.
func TestServerKilledDuringCreates(t *testing.T) {
	requireFoundry(t)
	d := env.Containerd(t, env.Config{})
	const parallelCreates = 20
	repeats := 20
	if testing.Short() {
		repeats = 5
	}
	var whole time.Duration // from nothing done yet to all done
	for range 2 {           // the first time costs more
		made := prepare(t, d, parallelCreates)
		begin := time.Now()
		createSideBySide(t, d, made)
		whole = time.Since(begin)
		removeSideBySide(t, d, made)
	}
	for i := range repeats {
		victims := d.Servers()
		if len(victims) != 1 {
			t.Fatalf("servers: got %d, want 1", len(victims))
		}
		made := prepare(t, d, parallelCreates)
		after := whole * time.Duration(i) / time.Duration(repeats)
		killer := time.AfterFunc(after, func() { _ = syscall.Kill(victims[0].Pid, syscall.SIGKILL) })
		failed := createSideBySide(t, d, made)
		inTime := !killer.Stop()
		removeSideBySide(t, d, made)
		if !inTime {
			continue
		}
		t.Logf("killed after %s: %d of %d creates failed", after.Round(time.Millisecond), failed, len(made))
		env.Eventually(t, "the spawner leaves", func() bool { return !env.Alive(victims[0].Spawner) })
		d.CheckLeaks(t)
		if got := d.Run(t, d.Container(t, env.ContainerConfig{Args: []string{"/bin/true"}})).Code(); got != 0 || t.Failed() {
			t.Fatalf("a container after the kill: got exit %d", got)
		}
	}
}

// containerd is killed likewise. Its connections close, so a Create under way is
// undone; the next containerd finds the rest. The server lives through it all,
// and is no bigger for it.
func TestContainerdKilledDuringCreates(t *testing.T) {
	requireFoundry(t)
	d := env.Containerd(t, env.Config{})
	repeats := 12
	if testing.Short() {
		repeats = 3
	}
	made := prepare(t, d, 20)
	createSideBySide(t, d, made)
	removeSideBySide(t, d, made)
	server, before := d.Servers()[0], d.Footprint(t)
	for i := range repeats {
		made, failed := prepare(t, d, 20), make(chan int)
		go func() { failed <- createSideBySide(t, d, made) }()
		after := time.Duration(i) * 12 * time.Millisecond
		time.Sleep(after) // any moment will do
		d.Kill(t)
		t.Logf("killed after %s: %d of %d creates failed", after, <-failed, len(made))
		d.Start(t)
		removeSideBySide(t, d, made)
		d.CheckLeaks(t)
	}
	if got := d.Servers(); len(got) != 1 || got[0] != server {
		t.Errorf("servers: got %v, want still %v", got, server)
	}
	d.Run(t, d.Container(t, env.ContainerConfig{Args: []string{"/bin/true"}})) // it has events for the new containerd
	d.CheckFootprint(t, before)
}

func prepare(t *testing.T, d *env.Daemon, n int) []client.Container {
	t.Helper()
	var made []client.Container
	for range n {
		c, err := d.NewContainer(d.Context(t), env.ContainerConfig{Args: []string{"/bin/sleep", "100000"}})
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, c)
	}
	return made
}

// createSideBySide creates and starts the containers all at once, and returns
// how many did not come to run.
func createSideBySide(t *testing.T, d *env.Daemon, made []client.Container) (failed int) {
	t.Helper()
	for _, err := range parallel(len(made), len(made), func(i int) string {
		ctx := d.Context(t)
		task, err := made[i].NewTask(ctx, nullIO)
		if err == nil {
			err = task.Start(ctx)
		}
		if err != nil {
			return err.Error()
		}
		return ""
	}) {
		if err != "" {
			failed++
		}
	}
	return failed
}

// removeSideBySide removes whatever there is of the containers.
func removeSideBySide(t *testing.T, d *env.Daemon, made []client.Container) {
	t.Helper()
	parallel(len(made), len(made), func(i int) string {
		removeAll(t, d, made[i].ID())
		return ""
	})
}

// removeAll removes a container of which there may be a task, or one that
// containerd is about to find dead.
func removeAll(t *testing.T, d *env.Daemon, id string) {
	t.Helper()
	ctx := d.Context(t)
	c, err := d.Client.LoadContainer(ctx, id)
	for range 200 {
		if err != nil {
			break
		}
		if task, err := c.Task(ctx, nil); err == nil {
			_, _ = task.Delete(ctx, client.WithProcessKill) // it may go while we ask
		}
		if err = c.Delete(ctx, client.WithSnapshotCleanup); err == nil {
			return
		}
		time.Sleep(50 * time.Millisecond) // until containerd has forgotten the task
	}
	t.Errorf("delete %s: %v", id, err)
}
