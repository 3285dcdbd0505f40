// SPDX-License-Identifier: Apache-2.0

package env

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/oci"
)

// ContainerConfig says how a test's container differs from ctr's default one.
// Its zero value is a shell on a null stdin.
type ContainerConfig struct {
	ID      string         // default: a fresh one
	Args    []string       // default: /bin/sh
	Opts    []oci.SpecOpts // on top of ctr's default spec and the image's config
	Runtime string         // default: the runtime under test
	Options any            // of the runtime's handler
	// Snapshot makes the one of ID, which then must be given. Default: a new one of the image.
	Snapshot client.NewContainerOpts
}

// Container makes a container, without a task. It and its task are gone at the
// end of the test.
func (d *Daemon) Container(t testing.TB, cfg ContainerConfig) client.Container {
	t.Helper()
	cfg.ID = cmp.Or(cfg.ID, newID("c"))
	c, err := d.NewContainer(d.Context(t), cfg)
	if err != nil {
		t.Fatalf("new container: %v", err)
	}
	t.Cleanup(func() { d.discard(t, cfg.ID) })
	return c
}

func newID(kind string) string { return kind + strings.ToLower(rand.Text()[:12]) }

// NewContainer is Container for those who delete it themselves.
func (d *Daemon) NewContainer(ctx context.Context, cfg ContainerConfig) (client.Container, error) {
	id, args := cmp.Or(cfg.ID, newID("c")), cfg.Args
	if len(args) == 0 {
		args = []string{"/bin/sh"}
	}
	opts := append([]oci.SpecOpts{oci.WithDefaultSpec(), oci.WithDefaultUnixDevices, oci.WithImageConfig(d.Image),
		oci.WithProcessArgs(args...), WithinOurRights}, cfg.Opts...)
	snapshot := cfg.Snapshot
	if snapshot == nil {
		snapshot = client.WithNewSnapshot(id, d.Image)
	}
	return d.Client.NewContainer(ctx, id, snapshot, client.WithNewSpec(opts...),
		client.WithRuntime(cmp.Or(cfg.Runtime, Runtime()), cfg.Options))
}

// discard removes a container and its task by name, because a restarted
// daemon's client is another one.
func (d *Daemon) discard(t testing.TB, id string) {
	t.Helper()
	if d.Client == nil {
		return // stopped for good; remove looks after the rest
	}
	ctx := d.Context(t)
	c, err := d.Client.LoadContainer(ctx, id)
	if err != nil {
		return // the test deleted it
	}
	if task, err := c.Task(ctx, nil); err == nil {
		if _, err := task.Delete(ctx, client.WithProcessKill); err != nil {
			t.Errorf("delete task of %q: %v", id, err)
		}
	}
	if err := c.Delete(ctx, client.WithSnapshotCleanup); err != nil {
		t.Errorf("delete container %q: %v", id, err)
	}
}

// WithinOurRights drops what a host without CAP_SYS_RESOURCE refuses to any
// runtime: a lower oom score and higher limits.
func WithinOurRights(_ context.Context, _ oci.Client, _ *containers.Container, s *oci.Spec) error {
	s.Process.Rlimits = nil
	s.Process.OOMScoreAdj = nil
	return nil
}

// Task is a created task and what it writes.
type Task struct {
	client.Task
	Stdout, Stderr *Output
	Exit           <-chan client.ExitStatus
}

// Create creates the container's task with pipes for output and waits for it,
// so that no exit can be missed. stdin may be nil.
func (d *Daemon) Create(t testing.TB, c client.Container, stdin io.Reader) *Task {
	t.Helper()
	out, errs := &Output{}, &Output{}
	task, err := c.NewTask(d.Context(t), cio.NewCreator(cio.WithStreams(stdin, out, errs), cio.WithFIFODir(d.Dir+"/io")))
	if err != nil {
		t.Fatalf("create task of %q: %v", c.ID(), err)
	}
	exit, err := task.Wait(d.Context(t))
	if err != nil {
		t.Fatalf("wait for %q: %v", c.ID(), err)
	}
	return &Task{Task: task, Stdout: out, Stderr: errs, Exit: exit}
}

// Start is Create and start.
func (d *Daemon) StartTask(t testing.TB, c client.Container) *Task {
	t.Helper()
	task := d.Create(t, c, nil)
	if err := task.Start(d.Context(t)); err != nil {
		t.Fatalf("start %q: %v", c.ID(), err)
	}
	return task
}

// Run runs the container's process to its end and deletes the task.
func (d *Daemon) Run(t testing.TB, c client.Container) Result {
	t.Helper()
	task := d.StartTask(t, c)
	return d.Finish(t, task)
}

// Result is how a process ended, and what it wrote.
type Result struct {
	client.ExitStatus
	Stdout, Stderr string
}

// Code is the exit code; 128 and the signal for a killed process.
func (r Result) Code() int { return int(r.ExitCode()) }

// Finish waits for the task's end and deletes it.
func (d *Daemon) Finish(t testing.TB, task *Task) Result {
	t.Helper()
	status := Wait(t, task.Exit)
	if _, err := task.Delete(d.Context(t)); err != nil {
		t.Fatalf("delete task %q: %v", task.ID(), err)
	}
	return Result{ExitStatus: status, Stdout: task.Stdout.String(), Stderr: task.Stderr.String()}
}

// Exec runs one more process in the container, to its end.
func (d *Daemon) Exec(t testing.TB, task client.Task, args ...string) Result {
	t.Helper()
	r, err := d.TryExec(d.Context(t), task, args...)
	if err != nil {
		t.Fatalf("exec %q in %q: %v", args, task.ID(), err)
	}
	return r
}

// TryExec is Exec for goroutines and for failures that are wanted.
func (d *Daemon) TryExec(ctx context.Context, task client.Task, args ...string) (Result, error) {
	spec, err := task.Spec(ctx)
	if err != nil {
		return Result{}, err
	}
	process := *spec.Process
	process.Args, process.Terminal = args, false
	out, errs := &Output{}, &Output{}
	id := newID("e")
	p, err := task.Exec(ctx, id, &process, cio.NewCreator(cio.WithStreams(nil, out, errs), cio.WithFIFODir(d.Dir+"/io")))
	if err != nil {
		return Result{}, err
	}
	exit, err := p.Wait(ctx)
	if err != nil {
		return Result{}, err
	}
	if err := p.Start(ctx); err != nil {
		_, derr := p.Delete(ctx)
		return Result{}, cmp.Or(err, derr)
	}
	status := <-exit
	if _, err := p.Delete(ctx); err != nil {
		return Result{}, err
	}
	return Result{ExitStatus: status, Stdout: out.String(), Stderr: errs.String()}, status.Error()
}

// Wait takes an exit status off its channel, in bounded time.
func Wait(t testing.TB, exit <-chan client.ExitStatus) client.ExitStatus {
	t.Helper()
	select {
	case status := <-exit:
		if err := status.Error(); err != nil {
			t.Fatalf("wait: %v", err)
		}
		return status
	case <-time.After(time.Minute * Slowness()):
		t.Fatal("wait: no exit after a minute")
		panic("unreachable")
	}
}

// Output collects what a process writes. The zero value is ready.
type Output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// Eventually waits until ok holds, for what has no event to wait for.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second * Slowness())
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not after 30 s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
