// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"testing"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"foundry/integration/env"
)

func TestStop(t *testing.T) {
	tell(t, all, story{"Signals", stopSignals, ""},
		story{"OOM", outOfMemory, ""},
		story{"Reasons", reasons, ""},
		story{"Pod", stopPod, ""})
}

// stopSignals: the signal first, the end when the grace period is over.
func stopSignals(t *testing.T, n *node) {
	p := n.pod(t)
	for _, tt := range []struct {
		name, script string
		signal       runtimeapi.Signal
		grace        int64
		want         int32
		most         time.Duration
	}{
		{"Handled", "trap 'exit 9' TERM", 0, 30, 9, 10 * time.Second},
		{"Chosen", "trap 'exit 10' USR1", runtimeapi.Signal_SIGNAL_SIGUSR1, 30, 10, 10 * time.Second},
		{"Unhandled", "exec sleep 100000", 0, 1, 137, 10 * time.Second}, // pid 1 ignores what it does not handle
		{"Ignored", "trap '' TERM", 0, 1, 137, 10 * time.Second},
		{"AtOnce", "trap 'exit 9' TERM", 0, 0, 137, 5 * time.Second},
	} {
		c := p.run(t, func(c *runtimeapi.ContainerConfig) { c.StopSignal = tt.signal },
			"/bin/sh", "-c", tt.script+"; echo up; while :; do usleep 10000; done")
		if tt.name != "Unhandled" {
			env.Eventually(t, "it is up", func() bool { return c.log(t) != "" })
		}
		begin := time.Now()
		if err := n.runtime.StopContainer(n.Context(t), c.id, tt.grace); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		took := time.Since(begin)
		if took > tt.most || tt.want == 137 && took < time.Duration(tt.grace)*time.Second {
			t.Errorf("%s: took %v", tt.name, took)
		}
		if s := c.ended(t); s.ExitCode != tt.want {
			t.Errorf("%s: exit code: got %d, want %d", tt.name, s.ExitCode, tt.want)
		}
		if err := n.runtime.StopContainer(n.Context(t), c.id, 1); err != nil {
			t.Errorf("%s: stop again: %v", tt.name, err)
		}
	}
}

func outOfMemory(t *testing.T, n *node) {
	c := n.pod(t).run(t, func(c *runtimeapi.ContainerConfig) {
		c.Linux.Resources.MemoryLimitInBytes = 32 << 20
	}, "/bin/tail", "/dev/zero")
	if s := c.ended(t); s.Reason != "OOMKilled" || s.ExitCode != 137 {
		t.Errorf("got reason %q, exit code %d; want OOMKilled, 137", s.Reason, s.ExitCode)
	}
}

func reasons(t *testing.T, n *node) {
	p := n.pod(t)
	for script, want := range map[string]struct {
		code   int32
		reason string
	}{"exit 0": {0, "Completed"}, "exit 3": {3, "Error"}, "sh -c 'kill -SEGV $$'; exit $?": {139, "Error"}} {
		begin := time.Now()
		s := p.run(t, nil, "/bin/sh", "-c", script).ended(t)
		if s.ExitCode != want.code || s.Reason != want.reason {
			t.Errorf("%s: got %d, %q; want %d, %q", script, s.ExitCode, s.Reason, want.code, want.reason)
		}
		// The start is when containerd heard of it, so it may be after the end.
		if s.FinishedAt < begin.UnixNano() || s.FinishedAt > time.Now().UnixNano() {
			t.Errorf("%s: finished at %d, begun at %d", script, s.FinishedAt, begin.UnixNano())
		}
	}
	if _, err := p.tryRun(n.Context(t), nil, "/bin/nowhere"); err == nil {
		t.Error("start of what is not there: no error")
	}
}

// stopPod: containers are stopped with their pod, whose network is gone then.
func stopPod(t *testing.T, n *node) {
	p := n.pod(t)
	c := p.sleeper(t, nil)
	if err := n.runtime.StopPodSandbox(n.Context(t), p.id); err != nil {
		t.Fatal(err)
	}
	if s := c.status(t); s.State != runtimeapi.ContainerState_CONTAINER_EXITED || s.ExitCode != 137 {
		t.Errorf("container of a stopped pod: got %v, exit code %d", s.State, s.ExitCode)
	}
	got, err := n.runtime.PodSandboxStatus(n.Context(t), p.id, false)
	if err != nil || got.Status.State != runtimeapi.PodSandboxState_SANDBOX_NOTREADY {
		t.Errorf("stopped pod: got %v, %v", got, err)
	}
	if err := n.runtime.StopPodSandbox(n.Context(t), p.id); err != nil {
		t.Errorf("stop again: %v", err)
	}
}
