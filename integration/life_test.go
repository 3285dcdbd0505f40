// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/containerd/errdefs"

	"foundry/integration/env"
)

// One daemon serves all stories of a life; they run one after the other, as a
// person at a terminal would.
func TestLife(t *testing.T) {
	d := env.Containerd(t, env.Config{})
	for _, s := range []story{
		{"ExitCodes", exitCodes},
		{"OutputIsWhole", outputIsWhole},
		{"Stdin", stdin},
		{"CreatedThenStarted", createdThenStarted},
		{"CreatedThenDeleted", createdThenDeleted},
		{"CommandNotFound", commandNotFound},
		{"User", user},
		{"Exec", execs},
		{"ExecNotFound", execNotFound},
		{"Kill", kill},
		{"KillAll", killAll},
		{"Pause", pause},
		{"Pids", pids},
		{"TwentyAtOnce", twentyAtOnce},
	} {
		s.run(t, d)
	}
	if env.Runtime() == "io.containerd.foundry.v1" {
		if got := len(d.Servers()); got != 1 {
			t.Errorf("servers: got %d, want one for all containers", got)
		}
	}
}

func exitCodes(t *testing.T, d *env.Daemon) {
	tests := []struct {
		script string
		want   int
	}{{"exit 0", 0}, {"exit 7", 7}, {"exit 255", 255}, {"sh -c 'kill -KILL $$'; exit $?", 137}, {"(exit 3)", 3}}
	for _, tt := range tests {
		c := d.Container(t, env.ContainerConfig{Args: []string{"/bin/sh", "-c", tt.script}})
		if got := d.Run(t, c).Code(); got != tt.want {
			t.Errorf("%s: got %d, want %d", tt.script, got, tt.want)
		}
	}
}

func outputIsWhole(t *testing.T, d *env.Daemon) {
	c := d.Container(t, env.ContainerConfig{Args: []string{"/bin/sh", "-c", "yes 0123456789abcdef | head -c 10000000; echo sorry >&2"}})
	r := d.Run(t, c)
	if want := strings.Repeat("0123456789abcdef\n", 10_000_000/17+1)[:10_000_000]; r.Stdout != want {
		t.Errorf("stdout: got %d bytes, want %d", len(r.Stdout), len(want))
	}
	if r.Stderr != "sorry\n" {
		t.Errorf("stderr: got %q, want %q", r.Stderr, "sorry\n")
	}
}

func stdin(t *testing.T, d *env.Daemon) {
	c := d.Container(t, env.ContainerConfig{Args: []string{"/bin/cat"}})
	want := strings.Repeat("to and fro\n", 100_000)
	in := &finite{from: strings.NewReader(want), eof: make(chan struct{})}
	task := d.Create(t, c, in)
	if err := task.Start(d.Context(t)); err != nil {
		t.Fatal(err)
	}
	<-in.eof
	if err := task.CloseIO(d.Context(t), client.WithStdinCloser); err != nil {
		t.Fatalf("close stdin: %v", err)
	}
	if r := d.Finish(t, task); r.Stdout != want || r.Code() != 0 {
		t.Errorf("got %d bytes, exit %d, want %d bytes, exit 0", len(r.Stdout), r.Code(), len(want))
	}
}

// finite tells when its reader came to the end.
type finite struct {
	from io.Reader
	once sync.Once
	eof  chan struct{}
}

func (f *finite) Read(p []byte) (int, error) {
	n, err := f.from.Read(p)
	if err != nil {
		f.once.Do(func() { close(f.eof) })
	}
	return n, err
}

func createdThenStarted(t *testing.T, d *env.Daemon) {
	c := d.Container(t, env.ContainerConfig{Args: []string{"/bin/echo", "hello"}})
	task := d.Create(t, c, nil)
	wantStatus(t, d, task, client.Created)
	if task.Pid() == 0 {
		t.Error("a created task has no pid")
	}
	if err := task.Start(d.Context(t)); err != nil {
		t.Fatal(err)
	}
	// containerd's client stops copying the output of a task whose start fails.
	env.Eventually(t, "output", func() bool { return task.Stdout.String() != "" })
	if err := task.Start(d.Context(t)); err == nil {
		t.Error("second start: got no error")
	}
	env.Eventually(t, "task stops", func() bool {
		s, err := task.Status(d.Context(t))
		return err == nil && s.Status == client.Stopped
	})
	if r := d.Finish(t, task); r.Stdout != "hello\n" {
		t.Errorf("stdout: got %q, want %q", r.Stdout, "hello\n")
	}
	if _, err := task.Status(d.Context(t)); err == nil {
		t.Error("status after delete: got no error")
	}
}

func createdThenDeleted(t *testing.T, d *env.Daemon) {
	c := d.Container(t, env.ContainerConfig{})
	task := d.Create(t, c, nil)
	if _, err := task.Delete(d.Context(t), client.WithProcessKill); err != nil {
		t.Errorf("delete a created task: %v", err)
	}
	// the name is free again
	if got := d.Run(t, c).Code(); got != 0 {
		t.Errorf("second task: got exit %d, want 0", got)
	}
}

func commandNotFound(t *testing.T, d *env.Daemon) {
	c := d.Container(t, env.ContainerConfig{Args: []string{"/no/such/program"}})
	task, err := c.NewTask(d.Context(t), nullIO)
	if err == nil {
		err = task.Start(d.Context(t))
		defer task.Delete(d.Context(t), client.WithProcessKill)
	}
	if err == nil || !strings.Contains(err.Error(), "/no/such/program") || !strings.Contains(err.Error(), "no such file or directory") {
		t.Errorf("got %v, want an error that names the program and the cause", err)
	}
}

func user(t *testing.T, d *env.Daemon) {
	c := d.Container(t, env.ContainerConfig{Args: []string{"/bin/sh", "-c", "id -u; id -g; id -G; pwd; echo $HOME; echo to-stdout > /dev/stdout"},
		Opts: []oci.SpecOpts{oci.WithUser("user"), oci.WithAdditionalGIDs("user"), oci.WithProcessCwd("/home/user")}})
	want := "1000\n1000\n1000 1001\n/home/user\n/home/user\nto-stdout\n"
	if r := d.Run(t, c); r.Stdout != want {
		t.Errorf("got %q, %q, want %q", r.Stdout, r.Stderr, want)
	}
}

func execs(t *testing.T, d *env.Daemon) {
	task := d.StartTask(t, sleeper(t, d))
	for code := range 5 {
		r := d.Exec(t, task, "/bin/sh", "-c", fmt.Sprintf("echo out; echo err >&2; exit %d", code))
		if r.Code() != code || r.Stdout != "out\n" || r.Stderr != "err\n" {
			t.Errorf("exit %d: got %d, %q, %q", code, r.Code(), r.Stdout, r.Stderr)
		}
	}
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			r, err := d.TryExec(d.Context(t), task, "/bin/sh", "-c", fmt.Sprintf("exit %d", i))
			if err != nil || r.Code() != i {
				t.Errorf("parallel exec %d: got %d, %v", i, r.Code(), err)
			}
		})
	}
	wg.Wait()
}

func execNotFound(t *testing.T, d *env.Daemon) {
	task := d.StartTask(t, sleeper(t, d))
	_, err := d.TryExec(d.Context(t), task, "/no/such/program")
	if err == nil || !strings.Contains(err.Error(), "/no/such/program") {
		t.Errorf("got %v, want an error that names the program", err)
	}
	if r := d.Exec(t, task, "/bin/true"); r.Code() != 0 {
		t.Errorf("the next exec: got %d, want 0", r.Code())
	}
}

func kill(t *testing.T, d *env.Daemon) {
	c := d.Container(t, env.ContainerConfig{Args: []string{"/bin/sh", "-c", "trap 'exit 42' TERM; echo ready; while :; do sleep 0.01; done"}})
	task := d.StartTask(t, c)
	env.Eventually(t, "the trap is set", func() bool { return task.Stdout.String() == "ready\n" })
	if err := task.Kill(d.Context(t), syscall.SIGTERM); err != nil {
		t.Fatalf("kill: %v", err)
	}
	if got := env.Wait(t, task.Exit).ExitCode(); got != 42 {
		t.Errorf("exit after SIGTERM: got %d, want 42", got)
	}
	if err := task.Kill(d.Context(t), syscall.SIGTERM); !errdefs.IsNotFound(err) {
		t.Errorf("kill after exit: got %v, want not found", err)
	}
}

func killAll(t *testing.T, d *env.Daemon) {
	c := d.Container(t, env.ContainerConfig{Args: []string{"/bin/sh", "-c", "sleep 1000 & sleep 1000 & echo ready; wait"},
		Opts: []oci.SpecOpts{oci.WithHostNamespace("pid")}})
	task := d.StartTask(t, c)
	env.Eventually(t, "the children run", func() bool { return task.Stdout.String() == "ready\n" })
	if err := task.Kill(d.Context(t), syscall.SIGKILL, client.WithKillAll); err != nil {
		t.Fatalf("kill all: %v", err)
	}
	if r := d.Finish(t, task); r.Code() != 137 {
		t.Errorf("exit: got %d, want 137", r.Code())
	}
}

func pause(t *testing.T, d *env.Daemon) {
	ctx := d.Context(t)
	c := d.Container(t, env.ContainerConfig{Args: []string{"/bin/sh", "-c", "while :; do echo x; sleep 0.01; done"}})
	task := d.StartTask(t, c)
	env.Eventually(t, "output", func() bool { return task.Stdout.String() != "" })
	if err := task.Pause(ctx); err != nil {
		t.Fatalf("pause: %v", err)
	}
	wantStatus(t, d, task, client.Paused)
	if _, err := d.TryExec(ctx, task, "/bin/true"); err == nil {
		t.Error("exec into a paused container: got no error")
	}
	if err := task.Resume(ctx); err != nil {
		t.Fatalf("resume: %v", err)
	}
	wantStatus(t, d, task, client.Running)
	before := len(task.Stdout.String())
	env.Eventually(t, "more output", func() bool { return len(task.Stdout.String()) > before })
	if err := task.Pause(ctx); err != nil {
		t.Fatalf("pause: %v", err)
	}
	// A paused container can be killed; containerd's client thaws nothing.
	if err := task.Kill(ctx, syscall.SIGKILL); err != nil {
		t.Fatalf("kill a paused container: %v", err)
	}
	if err := task.Resume(ctx); err != nil {
		t.Logf("resume a killed container: %v", err)
	}
	if got := env.Wait(t, task.Exit).ExitCode(); got != 137 {
		t.Errorf("exit: got %d, want 137", got)
	}
}

func pids(t *testing.T, d *env.Daemon) {
	c := d.Container(t, env.ContainerConfig{Args: []string{"/bin/sh", "-c", "sleep 1000 & sleep 1000 & echo ready; wait"}})
	task := d.StartTask(t, c)
	env.Eventually(t, "the children run", func() bool { return task.Stdout.String() == "ready\n" })
	list, err := task.Pids(d.Context(t))
	if err != nil {
		t.Fatal(err)
	}
	has := slices.ContainsFunc(list, func(p client.ProcessInfo) bool { return p.Pid == task.Pid() })
	if len(list) != 3 || !has {
		t.Errorf("pids: got %v, want three with %d", list, task.Pid())
	}
}

func twentyAtOnce(t *testing.T, d *env.Daemon) {
	var wg sync.WaitGroup
	for i := range 20 {
		c := d.Container(t, env.ContainerConfig{Args: []string{"/bin/sh", "-c", fmt.Sprintf("echo %d; exit %d", i, i)}})
		wg.Go(func() {
			if err := runsTo(d.Context(t), c, uint32(i)); err != nil {
				t.Errorf("container %d: %v", i, err)
			}
		})
	}
	wg.Wait()
}
