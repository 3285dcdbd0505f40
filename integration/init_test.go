// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/oci"

	"foundry/integration/env"
)

// A container with the annotation foundry.init has a pid 1 that does what the
// program should not have to: it reaps orphans, hands signals on, and ends as
// the program ends.
func TestReapingInit(t *testing.T) {
	requireFoundry(t)
	d := env.Containerd(t, env.Config{})
	for _, s := range []story{
		{"Codes", initCodes}, {"Signals", initSignals}, {"Orphans", initOrphans}, {"Terminal", initTerminal},
		{"Descendants", initDescendants}, {"StopDescendants", initStopsDescendants},
	} {
		s.run(t, d)
	}
}

func withInit(_ context.Context, _ oci.Client, _ *containers.Container, s *oci.Spec) error {
	s.Annotations = map[string]string{"foundry.init": "true"}
	return nil
}

func underInit(args ...string) env.ContainerConfig {
	return env.ContainerConfig{Args: args, Opts: []oci.SpecOpts{withInit}}
}

func initCodes(t *testing.T, d *env.Daemon) {
	for script, want := range map[string]int{
		"exit 0": 0, "exit 7": 7, "exit 255": 255, "kill -KILL $$": 137, "kill -SEGV $$": 139,
		"[ $$ != 1 ] && exit 3": 3, // it is not pid 1 itself
	} {
		if got := d.Run(t, d.Container(t, underInit("/bin/sh", "-c", script))).Code(); got != want {
			t.Errorf("%s: got %d, want %d", script, got, want)
		}
	}
}

func initSignals(t *testing.T, d *env.Daemon) {
	for _, tt := range []struct {
		script string
		sig    syscall.Signal
		want   int
	}{
		{"trap 'exit 5' TERM; echo up; while :; do sleep 1; done", syscall.SIGTERM, 5},
		{"trap 'exit 6' USR1; echo up; while :; do sleep 1; done", syscall.SIGUSR1, 6},
		{"echo up; exec sleep 100000", syscall.SIGTERM, 143},
		{"echo up; exec sleep 100000", syscall.SIGINT, 130},
		{"echo up; exec sleep 100000", syscall.SIGKILL, 137},
	} {
		task := d.StartTask(t, d.Container(t, underInit("/bin/sh", "-c", tt.script)))
		env.Eventually(t, "it is up", func() bool { return task.Stdout.String() == "up\n" })
		if err := task.Kill(d.Context(t), tt.sig); err != nil {
			t.Fatal(err)
		}
		if got := d.Finish(t, task).Code(); got != tt.want {
			t.Errorf("%v to %q: got %d, want %d", tt.sig, tt.script, got, tt.want)
		}
	}
}

func initOrphans(t *testing.T, d *env.Daemon) {
	task := d.StartTask(t, d.Container(t, underInit("/bin/sleep", "100000")))
	for range 5 {
		// the orphan outlives its parent, and ends
		d.Exec(t, task, "/bin/sh", "-c", "(sleep 0.1 >/dev/null 2>&1 &) >/dev/null 2>&1")
	}
	env.Eventually(t, "the orphans are gone", func() bool {
		// pid 1, sleep, and the three of this pipeline
		r := d.Exec(t, task, "/bin/sh", "-c", "ls -d /proc/[0-9]* | wc -l; grep -l '^State:.Z' /proc/[0-9]*/status")
		lines := strings.Fields(r.Stdout)
		return len(lines) == 1 && (lines[0] == "5" || lines[0] == "4")
	})
}

func initTerminal(t *testing.T, d *env.Daemon) {
	c := d.Container(t, env.ContainerConfig{Args: []string{"/bin/sh", "-c", "tty; exit 4"}, Opts: []oci.SpecOpts{withInit, oci.WithTTY}})
	if got := exitWith(t, d, c, streamsOf(d, true)); got != 4 {
		t.Errorf("exit: got %d, want 4", got)
	}
}

func untilTheLast(args ...string) env.ContainerConfig {
	return env.ContainerConfig{Args: args, Opts: []oci.SpecOpts{annotated(map[string]string{"foundry.exit": "descendants"})}}
}

// A program that puts itself into the background leaves a container that runs
// until the last process ends, and then ends with the program's code.
func initDescendants(t *testing.T, d *env.Daemon) {
	task := d.StartTask(t, d.Container(t, untilTheLast("/bin/sh", "-c", "(sleep 3; echo late) & echo early; exit 7")))
	env.Eventually(t, "the program has ended", func() bool {
		return task.Stdout.String() != "" && d.Exec(t, task, "/bin/test", "-e", "/proc/2").Code() == 1
	})
	wantStatus(t, d, task, client.Running)
	if r := d.Finish(t, task); r.Code() != 7 || r.Stdout != "early\nlate\n" {
		t.Errorf("got exit %d, %q, want 7 after the last word", r.Code(), r.Stdout)
	}
}

// A signal to such a container reaches those that are left.
func initStopsDescendants(t *testing.T, d *env.Daemon) {
	task := d.StartTask(t, d.Container(t, untilTheLast("/bin/sh", "-c", "(trap 'echo bye; exit' TERM; echo up; while :; do sleep 0.1; done) & exit 3")))
	env.Eventually(t, "it is up", func() bool { return task.Stdout.String() == "up\n" })
	env.Eventually(t, "the program has ended", func() bool {
		return d.Exec(t, task, "/bin/test", "-e", "/proc/2").Code() == 1
	})
	if err := task.Kill(d.Context(t), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if r := d.Finish(t, task); r.Code() != 3 || r.Stdout != "up\nbye\n" {
		t.Errorf("got exit %d, %q, want 3 after a farewell", r.Code(), r.Stdout)
	}
}
