// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	cgroups1 "github.com/containerd/cgroups/v3/cgroup1/stats"
	cgroups2 "github.com/containerd/cgroups/v3/cgroup2/stats"
	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/containerd/typeurl/v2"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"foundry/integration/env"
)

func TestProcess(t *testing.T) {
	d := env.Containerd(t, env.Config{})
	for _, s := range []story{
		{"Terminal", terminal},
		{"ExecTerminal", execTerminal},
		{"LogFile", logFile},
		{"LogProgram", logProgram},
		{"OutputAfterExit", outputAfterExit},
		{"Stats", stats},
		{"Update", update},
		{"OOM", oom},
		{"Hooks", hooks},
		{"HookFails", hookFails},
	} {
		s.run(t, d)
	}
}

// keys is a terminal's keyboard, on which script types.
func keys(script string) io.Reader { return io.MultiReader(strings.NewReader(script), neverEnding{}) }

// neverEnding blocks: an end of input would close the terminal.
type neverEnding struct{}

func (neverEnding) Read([]byte) (int, error) { select {} }

func terminal(t *testing.T, d *env.Daemon) {
	c := d.Container(t, env.ContainerConfig{Args: []string{"/bin/sh", "-c", "tty; read line; echo got $line; stty size"}, Opts: []oci.SpecOpts{oci.WithTTY}})
	ctx, out := d.Context(t), &env.Output{}
	task, err := c.NewTask(ctx, cio.NewCreator(cio.WithStreams(keys("hello\n"), out, nil), cio.WithTerminal, cio.WithFIFODir(d.Dir+"/io")))
	if err != nil {
		t.Fatal(err)
	}
	exit, err := task.Wait(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := task.Resize(ctx, 123, 45); err != nil {
		t.Fatalf("resize: %v", err)
	}
	if err := task.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if got := env.Wait(t, exit).ExitCode(); got != 0 {
		t.Errorf("exit: got %d, want 0", got)
	}
	if _, err := task.Delete(ctx); err != nil {
		t.Fatal(err)
	}
	want := "/dev/pts/0\r\ngot hello\r\n45 123\r\n" // with the echo of what was typed
	if got := strings.Replace(out.String(), "hello\r\n", "", 1); got != want && out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

func execTerminal(t *testing.T, d *env.Daemon) {
	ctx := d.Context(t)
	task := d.StartTask(t, sleeper(t, d))
	spec, err := task.Spec(ctx)
	if err != nil {
		t.Fatal(err)
	}
	p := *spec.Process
	p.Args, p.Terminal = []string{"/bin/sh", "-c", "echo ready; read line; stty size; exit 9"}, true
	out, typed := &env.Output{}, make(chan string)
	exec, err := task.Exec(ctx, "tty", &p, cio.NewCreator(cio.WithStreams(&typist{typed}, out, nil), cio.WithTerminal, cio.WithFIFODir(d.Dir+"/io")))
	if err != nil {
		t.Fatal(err)
	}
	exit, err := exec.Wait(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := exec.Start(ctx); err != nil {
		t.Fatal(err)
	}
	env.Eventually(t, "the shell runs", func() bool { return strings.Contains(out.String(), "ready") })
	if err := exec.Resize(ctx, 80, 25); err != nil {
		t.Fatalf("resize: %v", err)
	}
	typed <- "\n"
	if got := env.Wait(t, exit).ExitCode(); got != 9 {
		t.Errorf("exit: got %d, want 9", got)
	}
	if _, err := exec.Delete(ctx); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "25 80\r\n") {
		t.Errorf("got %q, want 25 80", out.String())
	}
}

// typist is a keyboard whose keys come over a channel.
type typist struct{ keys chan string }

func (k *typist) Read(p []byte) (int, error) { return copy(p, <-k.keys), nil }

func logFile(t *testing.T, d *env.Daemon) {
	c := d.Container(t, env.ContainerConfig{Args: []string{"/bin/sh", "-c", "echo out; echo err >&2"}})
	file := filepath.Join(t.TempDir(), "deep/log")
	runWith(t, d, c, cio.LogFile(file))
	b, err := os.ReadFile(file)
	if err != nil || !slices.Equal(sortedLines(b), []string{"err", "out"}) {
		t.Errorf("got %q, %v, want out and err", b, err)
	}
}

const logger = `#!/bin/sh
trap '' TERM # it ends when its input does
# fd 3 is stdout, 4 stderr, the end of 5 says that we are ready
exec 5>&-
{ cat <&3 | sed "s/^/$CONTAINER_ID /" ; cat <&4; } > "$2"
`

func logProgram(t *testing.T, d *env.Daemon) {
	dir := t.TempDir()
	program, file := dir+"/logger", dir+"/log"
	if err := os.WriteFile(program, []byte(logger), 0o755); err != nil {
		t.Fatal(err)
	}
	c := d.Container(t, env.ContainerConfig{Args: []string{"/bin/sh", "-c", "echo out; echo err >&2"}})
	runWith(t, d, c, cio.BinaryIO(program, map[string]string{"file": file}))
	want := c.ID() + " out\nerr\n"
	if b, err := os.ReadFile(file); string(b) != want {
		t.Errorf("got %q, %v, want %q", b, err, want)
	}
}

// runWith is exitWith for what is to end well.
func runWith(t *testing.T, d *env.Daemon, c client.Container, create cio.Creator) {
	t.Helper()
	if got := exitWith(t, d, c, create); got != 0 {
		t.Errorf("exit: got %d, want 0", got)
	}
}

// exitWith runs a container with streams of its own to its end and deletes it.
func exitWith(t *testing.T, d *env.Daemon, c client.Container, create cio.Creator) uint32 {
	t.Helper()
	ctx := d.Context(t)
	task, err := c.NewTask(ctx, create)
	if err != nil {
		t.Fatal(err)
	}
	exit, err := task.Wait(ctx)
	if err == nil {
		err = task.Start(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	status := env.Wait(t, exit)
	if _, err := task.Delete(ctx); err != nil {
		t.Fatal(err)
	}
	return status.ExitCode()
}

// What is still in the pipe when init ends belongs to the output.
func outputAfterExit(t *testing.T, d *env.Daemon) {
	c := d.Container(t, env.ContainerConfig{Args: []string{"/bin/sh", "-c", "head -c 300000 /dev/zero; exit 5"}})
	r := d.Run(t, c)
	if r.Code() != 5 || len(r.Stdout) != 300_000 {
		t.Errorf("got exit %d, %d bytes, want 5, 300000", r.Code(), len(r.Stdout))
	}
}

func stats(t *testing.T, d *env.Daemon) {
	task := d.StartTask(t, sleeper(t, d))
	metric, err := task.Metrics(d.Context(t))
	if err != nil {
		t.Fatal(err)
	}
	v, err := typeurl.UnmarshalAny(metric.Data)
	if err != nil {
		t.Fatal(err)
	}
	var pids, memory uint64
	switch m := v.(type) {
	case *cgroups1.Metrics:
		pids, memory = m.GetPids().GetCurrent(), m.GetMemory().GetUsage().GetUsage()
	case *cgroups2.Metrics:
		pids, memory = m.GetPids().GetCurrent(), m.GetMemory().GetUsage()
	}
	if _, v1 := v.(*cgroups1.Metrics); v1 == env.Unified() {
		t.Errorf("type: got %T on a host where unified is %t", v, env.Unified())
	}
	if pids != 1 || memory == 0 {
		t.Errorf("got %d pids, %d bytes, want 1 and more than nothing", pids, memory)
	}
}

func update(t *testing.T, d *env.Daemon) {
	ctx := d.Context(t)
	task := d.StartTask(t, sleeper(t, d))
	limit := int64(64 << 20)
	if err := task.Update(ctx, client.WithResources(&specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &limit}, Pids: &specs.LinuxPids{Limit: ptr(int64(33))}})); err != nil {
		t.Fatalf("update: %v", err)
	}
	for file, want := range map[string]string{"memory.limit_in_bytes memory.max": "67108864", "pids.max": "33"} {
		if got := groupFile(t, d, task.ID(), file); got != want {
			t.Errorf("%s: got %q, want %q", file, got, want)
		}
	}
	wantStatus(t, d, task, client.Running)
}

func ptr[T any](v T) *T { return &v }

// groupFile reads the first file of the given names that a container's groups
// have.
func groupFile(t *testing.T, d *env.Daemon, id, names string) string {
	t.Helper()
	for _, name := range strings.Fields(names) {
		for _, root := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} {
			found, _ := filepath.Glob(root + d.Namespace + "/" + id + "/" + name)
			if len(found) > 0 {
				b, err := os.ReadFile(found[0])
				if err != nil {
					t.Fatal(err)
				}
				return strings.TrimSpace(string(b))
			}
		}
	}
	t.Fatalf("no file %s in the groups of %s", names, id)
	return ""
}

func oom(t *testing.T, d *env.Daemon) {
	s := watch(t, d)
	c := d.Container(t, env.ContainerConfig{Args: []string{"/bin/sh", "-c", "x=$(yes | head -c 100000000); echo ${#x}"},
		Opts: []oci.SpecOpts{oci.WithMemoryLimit(16 << 20)}})
	task := d.StartTask(t, c)
	if got := env.Wait(t, task.Exit).ExitCode(); got != 137 {
		t.Errorf("exit: got %d, want 137", got)
	}
	// still there to be read: CRI decides on OOMKilled by it
	if _, err := task.Metrics(d.Context(t)); err != nil {
		t.Errorf("metrics after exit: %v", err)
	}
	d.Finish(t, &env.Task{Task: task.Task, Stdout: task.Stdout, Stderr: task.Stderr, Exit: gone(task)})
	// The kernel may take more than one process before it gets to the shell.
	got := slices.Compact(s.until(t, task.ID(), "delete"))
	if want := []string{"create", "start", "oom", "exit", "delete"}; !slices.Equal(got, want) {
		t.Errorf("events: got %q, want %q", got, want)
	}
}

// gone is an exit that has been read already.
func gone(*env.Task) <-chan client.ExitStatus {
	c := make(chan client.ExitStatus, 1)
	c <- client.ExitStatus{}
	return c
}

// withHooks adds two hooks. Each writes the state that it gets to a file of its
// name; fail names the one that fails.
func withHooks(dir, fail string) oci.SpecOpts {
	hook := func(name string) []specs.Hook {
		script := fmt.Sprintf("cat > %s/%s; exit %d", dir, name, map[bool]int{true: 3}[name == fail])
		return []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", script}}}
	}
	return func(_ context.Context, _ oci.Client, _ *containers.Container, s *oci.Spec) error {
		s.Hooks = &specs.Hooks{CreateRuntime: hook("createRuntime"), Poststop: hook("poststop")}
		return nil
	}
}

func hooks(t *testing.T, d *env.Daemon) {
	dir := t.TempDir()
	c := d.Container(t, env.ContainerConfig{Args: []string{"/bin/true"}, Opts: []oci.SpecOpts{withHooks(dir, "")}})
	task := d.Create(t, c, nil)
	var state specs.State
	b, err := os.ReadFile(dir + "/createRuntime")
	if err != nil || json.Unmarshal(b, &state) != nil {
		t.Fatalf("state of createRuntime: %q, %v", b, err)
	}
	if state.ID != c.ID() || state.Pid != int(task.Pid()) || !strings.HasSuffix(state.Bundle, c.ID()) {
		t.Errorf("state: got %+v, want id %s, pid %d", state, c.ID(), task.Pid())
	}
	if _, err := os.Stat(dir + "/poststop"); err == nil {
		t.Error("poststop ran before delete")
	}
	if err := task.Start(d.Context(t)); err != nil {
		t.Fatal(err)
	}
	d.Finish(t, task)
	if b, err := os.ReadFile(dir + "/poststop"); !bytes.Contains(b, []byte(c.ID())) {
		t.Errorf("state of poststop: got %q, %v", b, err)
	}
}

func hookFails(t *testing.T, d *env.Daemon) {
	dir := t.TempDir()
	c := d.Container(t, env.ContainerConfig{Opts: []oci.SpecOpts{withHooks(dir, "createRuntime")}})
	_, err := c.NewTask(d.Context(t), nullIO)
	if err == nil || !strings.Contains(err.Error(), "createRuntime") {
		t.Errorf("got %v, want an error that names createRuntime", err)
	}
}

func sortedLines(b []byte) []string {
	lines := strings.Fields(string(b))
	slices.Sort(lines)
	return lines
}
