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
	empty := n.memory()
	before, links := n.Footprint(t), interfaces(t)
	pods := n.crowd(t)
	full := n.memory()
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
	parallel(t, func(i int) error { return pods[i].remove(context.Background()) })
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

// crowd is a hundred pods with a container each.
func (n *node) crowd(t testing.TB) []*pod {
	t.Helper()
	pods := make([]*pod, crowd)
	parallel(t, func(i int) error {
		p, err := n.tryPod(context.Background())
		if err == nil {
			_, err = p.tryRun(context.Background(), nil, "/bin/sleep", "1000000000")
		}
		pods[i] = p
		return err
	})
	return pods
}

// parallel does it for each pod, some at a time.
func parallel(t testing.TB, do func(int) error) {
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

func interfaces(t testing.TB) int {
	t.Helper()
	list, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// memory is the proportional set size of all processes of Foundry's, in KiB.
func (n *node) memory() int {
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
