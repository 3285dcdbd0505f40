// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"foundry/integration/env"
)

func TestResources(t *testing.T) {
	tell(t, all, story{"Ports", ports, ""},
		story{"Stats", stats, ""},
		story{"Update", update, ""})
}

// ports: a host port leads into the pod, by the node's address and by its
// loopback.
func ports(t *testing.T, n *node) {
	p := n.pod(t, func(c *runtimeapi.PodSandboxConfig) {
		c.PortMappings = []*runtimeapi.PortMapping{{ContainerPort: 8080, HostPort: 18080}}
	})
	c := p.run(t, nil, "/bin/nc", "-ll", "-p", "8080", "-e", "/bin/hostname")
	env.Eventually(t, "it listens", func() bool { return c.sh(t, "netstat -ltn | grep -c :8080 || true") == "1" })
	for _, host := range []string{gateway, "127.0.0.1"} {
		conn, err := net.DialTimeout("tcp", host+":18080", 10*time.Second)
		if err != nil {
			t.Errorf("dial: %v", err)
			continue
		}
		got, err := io.ReadAll(conn)
		conn.Close()
		if want := p.config.Hostname + "\n"; string(got) != want || err != nil {
			t.Errorf("%s: got %q, %v; want %q", host, got, err, want)
		}
	}
}

func stats(t *testing.T, n *node) {
	p := n.pod(t)
	c := p.run(t, nil, "/bin/sh", "-c", "head -c 20000000 /dev/zero > /dev/shm/x; while :; do :; done")
	p.sleeper(t, nil)
	ctx := n.Context(t)
	env.Eventually(t, "the container has used time and memory", func() bool {
		s, err := n.runtime.ContainerStats(ctx, c.id)
		return err == nil && s.Cpu.GetUsageCoreNanoSeconds().GetValue() > 1e7 && s.Memory.GetUsageBytes().GetValue() > 20e6 &&
			s.Memory.GetWorkingSetBytes().GetValue() > 20e6 && s.Attributes.Metadata.Name == c.name
	})
	list, err := n.runtime.ListContainerStats(ctx, &runtimeapi.ContainerStatsFilter{PodSandboxId: p.id})
	if err != nil || len(list) != 2 {
		t.Errorf("stats of the pod's containers: got %d, %v; want 2", len(list), err)
	}
	env.Eventually(t, "the pod has used time and memory, and sent packets", func() bool {
		s, err := n.runtime.PodSandboxStats(ctx, p.id)
		l := s.GetLinux()
		return err == nil && l.GetCpu().GetUsageCoreNanoSeconds().GetValue() > 1e7 && l.GetMemory().GetUsageBytes().GetValue() > 20e6 &&
			l.GetNetwork().GetDefaultInterface().GetName() == "eth0" && len(l.GetContainers()) == 2
	})
	pods, err := n.runtime.ListPodSandboxStats(ctx, nil)
	if err != nil || len(pods) != 1 {
		t.Errorf("stats of all pods: got %d, %v; want 1", len(pods), err)
	}
}

// update: limits are changed while the container runs, and told.
func update(t *testing.T, n *node) {
	c := n.pod(t).sleeper(t, func(c *runtimeapi.ContainerConfig) {
		c.Linux.Resources = &runtimeapi.LinuxContainerResources{MemoryLimitInBytes: 64 << 20, CpuPeriod: 100000, CpuQuota: 50000, CpuShares: 512}
	})
	memory := "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max"
	cpu := "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null || cut -d' ' -f1 /sys/fs/cgroup/cpu.max"
	c.expect(t, memory, fmt.Sprint(64<<20))
	c.expect(t, cpu, "50000")
	err := n.runtime.UpdateContainerResources(n.Context(t), c.id, &runtimeapi.ContainerResources{
		Linux: &runtimeapi.LinuxContainerResources{MemoryLimitInBytes: 96 << 20, CpuPeriod: 100000, CpuQuota: 70000, CpuShares: 256}})
	if err != nil {
		t.Fatalf("update: %v", err)
	}
	c.expect(t, memory, fmt.Sprint(96<<20))
	c.expect(t, cpu, "70000")
	if got := c.status(t).Resources.Linux.MemoryLimitInBytes; got != 96<<20 {
		t.Errorf("memory limit in the status: got %d, want %d", got, 96<<20)
	}
}
