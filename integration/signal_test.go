// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/oci"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"foundry/integration/env"
)

// Who is killed by a signal has the code 128 plus the signal, be it init or an
// exec, on a terminal or not. The containers share the host's pid namespace: a
// pid 1 takes notice of SIGKILL alone.
func signalCodes(t *testing.T, d *env.Daemon) {
	for sig, want := range map[syscall.Signal]int{syscall.SIGKILL: 137, syscall.SIGTERM: 143, syscall.SIGHUP: 129} {
		for _, tty := range []bool{false, true} {
			init := lying(t, d, tty)
			exec := lyingExec(t, d, init, tty)
			if got := killed(t, d, exec, sig); got != want {
				t.Errorf("exec, terminal %t, %v: got %d, want %d", tty, sig, got, want)
			}
			if got := killed(t, d, init, sig); got != want {
				t.Errorf("init, terminal %t, %v: got %d, want %d", tty, sig, got, want)
			}
		}
	}
}

// streamsOf are streams with or without a terminal.
func streamsOf(d *env.Daemon, tty bool) cio.Creator {
	opts := []cio.Opt{cio.WithStreams(neverEnding{}, &env.Output{}, &env.Output{}), cio.WithFIFODir(d.Dir + "/io")}
	if tty {
		opts = append(opts, cio.WithTerminal)
	}
	return cio.NewCreator(opts...)
}

func lying(t *testing.T, d *env.Daemon, tty bool) client.Task {
	t.Helper()
	opts := []oci.SpecOpts{oci.WithHostNamespace(specs.PIDNamespace)}
	if tty {
		opts = append(opts, oci.WithTTY)
	}
	c := d.Container(t, env.ContainerConfig{Args: []string{"/bin/sleep", "100000"}, Opts: opts})
	task, err := c.NewTask(d.Context(t), streamsOf(d, tty))
	if err == nil {
		err = task.Start(d.Context(t))
	}
	if err != nil {
		t.Fatal(err)
	}
	return task
}

func lyingExec(t *testing.T, d *env.Daemon, task client.Task, tty bool) client.Process {
	t.Helper()
	spec, err := task.Spec(d.Context(t))
	if err != nil {
		t.Fatal(err)
	}
	process := *spec.Process
	process.Args, process.Terminal = []string{"/bin/sleep", "100000"}, tty
	p, err := task.Exec(d.Context(t), "e", &process, streamsOf(d, tty))
	if err == nil {
		err = p.Start(d.Context(t))
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// killed kills a process and returns its code.
func killed(t *testing.T, d *env.Daemon, p client.Process, sig syscall.Signal) int {
	t.Helper()
	exit, err := p.Wait(d.Context(t))
	if err == nil {
		err = p.Kill(d.Context(t), sig)
	}
	if err != nil {
		t.Fatal(err)
	}
	code := env.Wait(t, exit).ExitCode()
	if _, err := p.Delete(d.Context(t)); err != nil {
		t.Error(err)
	}
	return int(code)
}

// An exec leaves a child behind, which has nobody to wait for it but who
// started the exec. (In a pid namespace of the container's own it is for pid 1;
// see TestReapingInit.)
func orphansOfExecs(t *testing.T, d *env.Daemon) {
	task := lying(t, d, false)
	var orphans []int
	for range 5 {
		r := d.Exec(t, task, "/bin/sh", "-c", "sleep 1 >/dev/null 2>&1 & echo $!")
		pid, err := strconv.Atoi(strings.TrimSpace(r.Stdout))
		if err != nil || !env.Alive(pid) {
			t.Fatalf("the orphan: got %q, %v, alive %t", r.Stdout, err, env.Alive(pid))
		}
		orphans = append(orphans, pid)
	}
	for _, pid := range orphans {
		env.Eventually(t, fmt.Sprint("orphan ", pid, " is gone"), func() bool { return env.Stat(pid) == nil })
	}
	wantStatus(t, d, task, client.Running)
}
