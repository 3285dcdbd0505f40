// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"foundry/integration/env"
)

// With runc v2, what ended while containerd was away has the code 255 and the
// reason Unknown, so this is told for Foundry alone.
func TestRestart(t *testing.T) {
	tell(t, ours, story{"Restart", restart})
}

// restart: pods go on while containerd is away. Output of that time is in the
// log, and who ended then has ended with its own code.
func restart(t *testing.T, n *node) {
	dir := t.TempDir()
	p, shared := n.pod(t), n.pod(t, sharing(&runtimeapi.NamespaceOption{Pid: runtimeapi.NamespaceMode_POD}))
	until := func(file, end string) string {
		return fmt.Sprintf("echo before; while [ ! -e /vol/%s ]; do usleep 5000; done; echo during; echo x > /vol/%[1]s.seen; %s", file, end)
	}
	volume := mounts(&runtimeapi.Mount{ContainerPath: "/vol", HostPath: dir})
	stays := p.run(t, volume, "/bin/sh", "-c", until("say", "while [ ! -e /vol/after ]; do usleep 5000; done; echo after; exec sleep 1000000"))
	ends := p.run(t, volume, "/bin/sh", "-c", until("end", "exit 7"))
	killed := shared.run(t, volume, "/bin/sh", "-c", until("kill", "kill -KILL $$"))
	killed.sh(t, "true")
	n.disconnect()
	n.Stop(t)
	for _, name := range []string{"say", "end", "kill"} {
		touch(t, dir+"/"+name)
		env.Eventually(t, name+" is seen", func() bool { _, err := os.Stat(dir + "/" + name + ".seen"); return err == nil })
	}
	n.Start(t)
	n.connect(t)
	if s := ends.ended(t); s.ExitCode != 7 || s.Reason != "Error" {
		t.Errorf("ended while containerd was away: got %d, %q; want 7, Error", s.ExitCode, s.Reason)
	}
	if s := killed.ended(t); s.ExitCode != 137 {
		t.Errorf("killed while containerd was away: got %d, want 137", s.ExitCode)
	}
	stays.expect(t, "echo exec", "exec")
	touch(t, dir+"/after")
	env.Eventually(t, "the log goes on", func() bool { return strings.HasSuffix(stays.log(t), "after\n") })
	if got, want := stays.log(t), "stdout before\nstdout during\nstdout after\n"; got != want {
		t.Errorf("log: got %q, want %q", got, want)
	}
	for _, q := range []*pod{p, shared} {
		got, err := n.runtime.PodSandboxStatus(n.Context(t), q.id, false)
		if err != nil || got.Status.State != runtimeapi.PodSandboxState_SANDBOX_READY {
			t.Errorf("pod after the restart: got %v, %v", got, err)
		}
		q.sleeper(t, nil).expect(t, "hostname", q.config.Hostname)
	}
	if err := n.runtime.StopContainer(n.Context(t), stays.id, 0); err != nil {
		t.Errorf("stop: %v", err)
	}
	if s := stays.ended(t); s.ExitCode != 137 {
		t.Errorf("stopped: got %d, want 137", s.ExitCode)
	}
}

func touch(t *testing.T, file string) {
	t.Helper()
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

const (
	crowd   = 100
	atATime = 10
)

// TestHundredPods: created, containerd restarted, all there; removed, and
// nothing is left of them.
func TestHundredPods(t *testing.T) {
	n := newNode(t)
	warm := n.pod(t) // what comes with the first pod stays: server, bridge
	warm.sleeper(t, nil).sh(t, "true")
	empty := n.memory(t)
	before, links := n.Footprint(t), interfaces(t)
	pods := make([]*pod, crowd)
	parallel(t, func(i int) error {
		p, err := n.tryPod(context.Background())
		if err == nil {
			_, err = p.tryRun(context.Background(), nil, "/bin/sleep", "1000000000")
		}
		pods[i] = p
		return err
	})
	full := n.memory(t)
	t.Logf("Foundry's processes: %d KiB with one pod, %d KiB with %d more; %.1f KiB a pod of two containers",
		empty, full, crowd, float64(full-empty)/crowd)
	n.restart(t)
	list, err := n.runtime.ListContainers(n.Context(t), &runtimeapi.ContainerFilter{
		State: &runtimeapi.ContainerStateValue{State: runtimeapi.ContainerState_CONTAINER_RUNNING}})
	if err != nil || len(list) != crowd+1 {
		t.Errorf("running after the restart: got %d, %v; want %d", len(list), err, crowd+1)
	}
	if servers := n.Servers(); len(servers) != 1 {
		t.Errorf("servers: got %d, want 1", len(servers))
	}
	parallel(t, func(i int) error {
		return pods[i].remove(context.Background())
	})
	n.CheckFootprint(t, before)
	env.Eventually(t, "the pods' links are gone", func() bool { return interfaces(t) <= links })
	// the records of the one pod that is there
	for pattern, want := range map[string]int{
		"/var/lib/cni/networks/pods/10.*":                      1,
		"/var/lib/cni/results/pods-*":                          1,
		n.path("state/io.containerd.grpc.v1.cri/netns/cni-*"):  1,
		n.path("state/io.containerd.grpc.v1.cri/sandboxes/*"):  1,
		n.path("state/io.containerd.grpc.v1.cri/containers/*"): 1,
		n.path("root/io.containerd.grpc.v1.cri/containers/*"):  1,
		n.path("state/io.containerd.runtime.v2.task/k8s.io/*"): 2,
	} {
		if left, _ := filepath.Glob(pattern); len(left) != want {
			t.Errorf("%s: got %q, want %d", pattern, left, want)
		}
	}
}

// parallel does it for each pod, some at a time.
func parallel(t *testing.T, do func(int) error) {
	t.Helper()
	var wg sync.WaitGroup
	errs := make([]error, crowd)
	for worker := range atATime {
		wg.Go(func() {
			for i := worker; i < crowd; i += atATime {
				errs[i] = do(i)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func interfaces(t *testing.T) int {
	t.Helper()
	list, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// memory is the proportional set size of all processes of Foundry's, in KiB.
func (n *node) memory(t *testing.T) int {
	t.Helper()
	sum := 0
	for _, pid := range n.ShimPids() {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			continue // one that has just ended
		}
		for line := range strings.Lines(string(b)) {
			var kib int
			if _, err := fmt.Sscanf(line, "Pss: %d kB", &kib); err == nil {
				sum += kib
			}
		}
	}
	return sum
}
