// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	tasks "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/ttrpc"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"foundry/integration/env"
)

// prompt is what an answer may take while some container is stuck: containerd
// gives State 2 s, and Connect and Pids 5 s at its restart.
func prompt() time.Duration { return 2 * time.Second * env.Slowness() }

// wedge is a way to be stuck. It returns the task that is stuck, nil when there
// is none to be found, and what undoes it.
type wedge func(*testing.T, *env.Daemon) (client.Task, func())

// One container that is stuck slows down no other, nor questions about itself,
// and a containerd that is started anew meanwhile finds everything.
func TestOneWedged(t *testing.T) {
	requireFoundry(t)
	for name, stick := range map[string]wedge{
		"Hook": wedgedHook, "Logger": wedgedLogger, "Reader": wedgedReader,
		"Paused": wedgedPaused, "Frozen": wedgedFrozen, "Unkillable": wedgedUnkillable, "Poststop": wedgedPoststop,
	} {
		t.Run(name, func(t *testing.T) { oneWedged(t, stick) })
	}
}

func oneWedged(t *testing.T, stick wedge) {
	d := env.Containerd(t, env.Config{})
	var free []string
	for _, task := range startMany(t, d, 3) {
		free = append(free, task.ID())
	}
	all := free
	stuck, release := stick(t, d)
	if stuck != nil {
		all = append(all, stuck.ID())
	}
	for _, when := range []string{"", " after a restart of containerd"} {
		if when != "" {
			d.Restart(t)
		}
		for _, id := range all {
			answers(t, d, id)
		}
		for _, id := range free {
			task := load(t, d, id)
			within(t, prompt(), "exec"+when, func() error {
				_, err := d.TryExec(d.Context(t), task, "/bin/true")
				return err
			})
		}
		c := d.Container(t, env.ContainerConfig{Args: []string{"/bin/true"}})
		within(t, 2*prompt(), "life of another"+when, func() error { return runsTo(d.Context(t), c, 0) })
	}
	release()
}

// within fails the test when do fails or takes longer than limit.
func within(t *testing.T, limit time.Duration, what string, do func() error) {
	t.Helper()
	begin := time.Now()
	err := do()
	if took := time.Since(begin); err != nil || took > limit {
		t.Errorf("%s: took %s of %s, %v", what, took.Round(time.Millisecond), limit, err)
	}
}

// answers asks all that containerd asks about a container on its own account.
func answers(t *testing.T, d *env.Daemon, id string) {
	t.Helper()
	ctx := d.Context(t)
	service := d.Client.TaskService()
	within(t, prompt(), "State of "+id, func() error {
		_, err := service.Get(ctx, &tasks.GetRequest{ContainerID: id})
		return err
	})
	within(t, prompt(), "Pids of "+id, func() error {
		r, err := service.ListPids(ctx, &tasks.ListPidsRequest{ContainerID: id})
		if err == nil && len(r.Processes) == 0 {
			err = fmt.Errorf("no pids") // containerd would take it for a leak
		}
		return err
	})
	shim := dialShim(t, d)
	within(t, prompt(), "Connect to "+id, func() error {
		r, err := shim.Connect(ctx, &taskapi.ConnectRequest{ID: id})
		if err == nil && r.TaskPid == 0 {
			err = fmt.Errorf("no pid of the task")
		}
		return err
	})
}

// dialShim is a connection to the server such as containerd has for each
// container.
func dialShim(t *testing.T, d *env.Daemon) taskapi.TTRPCTaskService {
	t.Helper()
	conn, err := net.Dial("unix", strings.TrimPrefix(d.Servers()[0].Address, "unix://"))
	if err != nil {
		t.Fatal(err)
	}
	c := ttrpc.NewClient(conn)
	t.Cleanup(func() { c.Close() })
	return taskapi.NewTTRPCTaskClient(c)
}

// wedgedHook hangs in Create: its createRuntime hook does not come back.
func wedgedHook(t *testing.T, d *env.Daemon) (client.Task, func()) {
	file := filepath.Join(t.TempDir(), "pid")
	c := d.Container(t, env.ContainerConfig{Opts: []oci.SpecOpts{
		func(_ context.Context, _ oci.Client, _ *containers.Container, s *oci.Spec) error {
			s.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", hang(file)}}}}
			return nil
		}}})
	return nil, hangingCreate(t, d, c, nullIO, file)
}

// wedgedLogger hangs in Create: its log program never says that it is ready.
func wedgedLogger(t *testing.T, d *env.Daemon) (client.Task, func()) {
	dir := t.TempDir()
	file, program := filepath.Join(dir, "pid"), filepath.Join(dir, "logger")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"+hang(file)), 0o755); err != nil {
		t.Fatal(err)
	}
	c := d.Container(t, env.ContainerConfig{})
	return nil, hangingCreate(t, d, c, cio.BinaryIO(program, nil), file)
}

// hang is a script that writes down its pid and does not end.
func hang(file string) string {
	return fmt.Sprintf("echo $$ > %[1]s.new; mv %[1]s.new %[1]s; exec sleep 100000", file)
}

// hangs waits until such a script runs, and returns its pid.
func hangs(t *testing.T, file string) (pid int) {
	t.Helper()
	env.Eventually(t, "the script runs", func() bool {
		b, _ := os.ReadFile(file)
		pid, _ = strconv.Atoi(strings.TrimSpace(string(b)))
		return pid > 0
	})
	return pid
}

// hangingCreate begins a Create and waits for the program that it waits for.
// In the end that must be gone, and the container must be without a task.
func hangingCreate(t *testing.T, d *env.Daemon, c client.Container, io cio.Creator, file string) func() {
	t.Helper()
	created := make(chan error, 1)
	go func() {
		_, err := c.NewTask(d.Context(t), io)
		created <- err
	}()
	pid := hangs(t, file)
	return func() {
		if err := <-created; err == nil {
			t.Error("create that hung: got no error")
		}
		env.Eventually(t, "what the create waited for ends", func() bool { return !env.Alive(pid) })
		env.Eventually(t, "the create is undone", func() bool {
			_, err := d.Client.TaskService().Get(d.Context(t), &tasks.GetRequest{ContainerID: c.ID()})
			return err != nil
		})
	}
}

// wedgedReader writes to a client that does not read.
func wedgedReader(t *testing.T, d *env.Daemon) (client.Task, func()) {
	fifos := newFifos(t, d)
	c := d.Container(t, env.ContainerConfig{Args: []string{"/bin/yes"}})
	task, err := c.NewTask(d.Context(t), fifos.creator())
	if err == nil {
		err = task.Start(d.Context(t))
	}
	if err != nil {
		t.Fatal(err)
	}
	return task, func() {
		task := load(t, d, task.ID())
		exit, err := task.Wait(d.Context(t))
		if err != nil {
			t.Fatal(err)
		}
		within(t, prompt(), "kill a writer that is blocked", func() error {
			if err := task.Kill(d.Context(t), syscall.SIGKILL); err != nil {
				return err
			}
			if got := env.Wait(t, exit).ExitCode(); got != 137 {
				return fmt.Errorf("exit: got %d, want 137", got)
			}
			return nil
		})
		// Its output gets its time, so this takes longer.
		if _, err := task.Delete(d.Context(t)); err != nil {
			t.Errorf("delete: %v", err)
		}
	}
}

// wedgedPaused is frozen by whom it may concern.
func wedgedPaused(t *testing.T, d *env.Daemon) (client.Task, func()) {
	task := d.StartTask(t, sleeper(t, d))
	if err := task.Pause(d.Context(t)); err != nil {
		t.Fatal(err)
	}
	return task, func() {
		task := load(t, d, task.ID())
		wantStatus(t, d, task, client.Paused)
		within(t, prompt(), "refusal of an exec", func() error { return refuses(t, d, task) })
		if err := task.Resume(d.Context(t)); err != nil {
			t.Fatal(err)
		}
		d.Exec(t, task, "/bin/true")
	}
}

// wedgedFrozen is frozen behind the server's back.
func wedgedFrozen(t *testing.T, d *env.Daemon) (client.Task, func()) {
	task := d.StartTask(t, sleeper(t, d))
	thaw := freeze(t, "/"+d.Namespace+"/"+task.ID())
	return task, func() {
		task := load(t, d, task.ID())
		within(t, prompt(), "refusal of an exec", func() error { return refuses(t, d, task) })
		thaw()
		d.Exec(t, task, "/bin/true")
	}
}

// freeze stops all processes in and below a cgroup.
func freeze(t *testing.T, group string) (thaw func()) {
	t.Helper()
	file, words := "/sys/fs/cgroup/freezer"+group+"/freezer.state", []string{"FROZEN", "THAWED"}
	if env.Unified() {
		file, words = "/sys/fs/cgroup"+group+"/cgroup.freeze", []string{"1", "0"}
	}
	write := func(word string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(word), 0); err != nil {
			t.Fatal(err)
		}
	}
	write(words[0])
	return func() { write(words[1]) }
}

// wedgedUnkillable does not die of SIGKILL, as one that waits for a dead disk
// does not. (On cgroup v1 it is enough that a group above it is frozen.)
func wedgedUnkillable(t *testing.T, d *env.Daemon) (client.Task, func()) {
	above := "/" + d.Namespace + "/above"
	task := d.StartTask(t, d.Container(t, env.ContainerConfig{Args: []string{"/bin/sleep", "100000"}, Opts: []oci.SpecOpts{oci.WithCgroup(above + "/c")}}))
	thaw := freeze(t, above)
	if err := task.Kill(d.Context(t), syscall.SIGKILL); err != nil {
		t.Errorf("kill: %v", err)
	}
	return task, func() {
		exit, err := load(t, d, task.ID()).Wait(d.Context(t))
		if err != nil {
			t.Fatal(err)
		}
		thaw()
		if got := env.Wait(t, exit).ExitCode(); got != 137 {
			t.Errorf("exit: got %d, want 137", got)
		}
		if _, err := load(t, d, task.ID()).Delete(d.Context(t)); err != nil {
			t.Errorf("delete: %v", err)
		}
		removeGroups(t, above)
	}
}

// removeGroups removes a cgroup that a test had made for it.
func removeGroups(t *testing.T, group string) {
	t.Helper()
	found, _ := filepath.Glob("/sys/fs/cgroup/*" + group)
	for _, dir := range append(found, "/sys/fs/cgroup"+group) {
		if err := syscall.Rmdir(dir); err != nil && err != syscall.ENOENT {
			t.Errorf("rmdir %s: %v", dir, err)
		}
	}
}

// wedgedPoststop hangs in Delete for as long as its hook may.
func wedgedPoststop(t *testing.T, d *env.Daemon) (client.Task, func()) {
	file, patience := filepath.Join(t.TempDir(), "pid"), 8
	c := d.Container(t, env.ContainerConfig{Args: []string{"/bin/true"}, Opts: []oci.SpecOpts{
		func(_ context.Context, _ oci.Client, _ *containers.Container, s *oci.Spec) error {
			s.Hooks = &specs.Hooks{Poststop: []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", hang(file)}, Timeout: &patience}}}
			return nil
		}}})
	task := d.StartTask(t, c)
	env.Wait(t, task.Exit)
	go task.Delete(d.Context(t)) // its connection breaks
	pid := hangs(t, file)
	return task, func() {
		env.Eventually(t, "the hook is ended", func() bool { return !env.Alive(pid) })
		env.Eventually(t, "the container is deleted", func() bool {
			_, err := d.Client.TaskService().Get(d.Context(t), &tasks.GetRequest{ContainerID: c.ID()})
			return errdefs.IsNotFound(errgrpc.ToNative(err))
		})
		// The containerd that asked for it is no more; whoever asks the new one
		// hears that it is done.
		if _, err := d.Client.TaskService().Delete(d.Context(t), &tasks.DeleteTaskRequest{ContainerID: c.ID()}); !errdefs.IsNotFound(errgrpc.ToNative(err)) {
			t.Errorf("delete again: got %v, want not found", err)
		}
	}
}

// refuses tries an exec that cannot be.
func refuses(t *testing.T, d *env.Daemon, task client.Task) error {
	t.Helper()
	_, err := d.TryExec(d.Context(t), task, "/bin/true")
	if !errdefs.IsFailedPrecondition(err) {
		return fmt.Errorf("exec in a frozen container: got %w, want failed precondition", err)
	}
	return nil
}
