// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/containerd/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"foundry/integration/env"
)

// counter counts for as long as it lives.
var counter = []string{"/bin/sh", "-c", "trap 'exit 9' TERM; i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done"}

// TestCheckpoint: a container goes on counting where its checkpoint was made. A
// host on which criu cannot work says so, and its container does not notice.
func TestCheckpoint(t *testing.T) {
	d := env.Containerd(t, env.Config{})
	hooked := filepath.Join(t.TempDir(), "hooked")
	c := d.Container(t, env.ContainerConfig{Args: counter, Opts: []oci.SpecOpts{withCreateHook("echo hook >>" + hooked)}})
	task := d.StartTask(t, c)
	env.Eventually(t, "numbers", func() bool { return strings.Count(task.Stdout.String(), "\n") > 3 })
	image, err := task.Checkpoint(d.Context(t))
	if out, works := criuWorks(); !works {
		if !errdefs.IsNotImplemented(err) || !strings.Contains(err.Error(), "criu") {
			t.Errorf("criu does not work here (%s): got %v, want not implemented, with the reason", out, err)
		}
		t.Logf("refused: %v", err)
		count := strings.Count(task.Stdout.String(), "\n")
		env.Eventually(t, "more numbers", func() bool { return strings.Count(task.Stdout.String(), "\n") > count+1 })
		return
	}
	if err != nil {
		t.Fatalf("checkpoint: %v", err)
	}
	before := strings.Count(task.Stdout.String(), "\n")
	env.Eventually(t, "numbers after the checkpoint", func() bool { return strings.Count(task.Stdout.String(), "\n") > before+1 })
	must(t, task.Kill(d.Context(t), syscall.SIGKILL))
	env.Wait(t, task.Exit)
	_, err = task.Delete(d.Context(t))
	must(t, err)
	restored(t, d, c, image)
	if b, err := os.ReadFile(hooked); err != nil || strings.Count(string(b), "hook") != 2 {
		t.Errorf("createRuntime hook wrote %q, %v, want a line at the create and one at the restore", b, err)
	}
}

func withCreateHook(script string) oci.SpecOpts {
	return func(_ context.Context, _ oci.Client, _ *containers.Container, s *oci.Spec) error {
		s.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", script}}}}
		return nil
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// restored runs c from its checkpoint to its end.
func restored(t *testing.T, d *env.Daemon, c client.Container, image client.Image) {
	t.Helper()
	ctx, out := d.Context(t), &env.Output{}
	task, err := c.NewTask(ctx, cio.NewCreator(cio.WithStreams(nil, out, nil), cio.WithFIFODir(d.Dir+"/io")), client.WithTaskCheckpoint(image))
	if err != nil {
		t.Fatalf("create from checkpoint: %v", err)
	}
	exit, err := task.Wait(ctx)
	must(t, err)
	if out.String() != "" {
		t.Errorf("it ran before it was started: %q", out.String())
	}
	must(t, task.Start(ctx))
	env.Eventually(t, "numbers of the restored", func() bool { return strings.Count(out.String(), "\n") > 3 })
	lines := strings.Fields(out.String())
	first, err := strconv.Atoi(lines[0])
	if err != nil || first < 3 {
		t.Errorf("it begins with %q, want where the checkpoint was", lines[0])
	}
	if second, _ := strconv.Atoi(lines[1]); second != first+1 {
		t.Errorf("it goes on with %q after %d", lines[1], first)
	}
	if code := d.Exec(t, task, "/bin/sh", "-c", "test -e /proc/1/cmdline && exit 5").Code(); code != 5 {
		t.Errorf("exec in the restored container: exit code %d, want 5", code)
	}
	must(t, task.Kill(ctx, syscall.SIGTERM))
	if code := env.Wait(t, exit).ExitCode(); code != 9 {
		t.Errorf("exit code %d, want 9 of its own handler", code)
	}
	_, err = task.Delete(ctx)
	must(t, err)
}

// criuWorks says whether criu, if there is one, can work on this kernel.
func criuWorks() (string, bool) {
	out, err := exec.Command("criu", "check").CombinedOutput()
	return string(bytes.TrimSpace(out)), err == nil && env.Unified()
}
