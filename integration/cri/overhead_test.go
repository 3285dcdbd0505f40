// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"foundry/integration/env"
)

// BenchmarkOverhead measures what a pod costs beside its containers' own
// processes: the numbers of the RuntimeClass in dist/. Run it with -benchtime 1x.
//
//	server-KiB/pod  what the processes that serve containers grow by (PSS), one container and the sandbox
//	cgroup-KiB/pod  what is charged to the sandbox's own group, in the pod's: the pause process and kernel memory
//	mCPU/pod        what the serving processes use while the pods idle and containerd asks for statistics
func BenchmarkOverhead(b *testing.B) {
	for _, handler := range both {
		b.Run(handler, func(b *testing.B) {
			const rest = 30 * time.Second
			n := newNode(b).with(handler)
			warm := n.pod(b)
			warm.sleeper(b, nil).sh(b, "true")
			<-time.After(rest / 3) // Foundry's server has given back what starting it took
			empty := n.memory()
			pods := n.crowd(b)
			before := n.ticks()
			b.ResetTimer()
			<-time.After(rest)
			b.StopTimer()
			cpu := float64(n.ticks()-before) / 100 / rest.Seconds()
			charged := 0
			for _, p := range pods {
				charged += p.charged(b)
			}
			b.ReportMetric(float64(n.memory()-empty)/crowd, "server-KiB/pod")
			b.ReportMetric(float64(charged)/crowd/1024, "cgroup-KiB/pod")
			b.ReportMetric(cpu/crowd*1000, "mCPU/pod")
			parallel(b, func(i int) error { return pods[i].remove(context.Background()) })
		})
	}
}

// ticks is the processor time of the serving processes, in hundredths.
func (n *node) ticks() int {
	const utime, stime = 11, 12
	sum := 0
	for _, pid := range n.ShimPids() {
		if f := env.Stat(pid); len(f) > stime {
			for _, field := range f[utime : stime+1] {
				ticks, _ := strconv.Atoi(field)
				sum += ticks
			}
		}
	}
	return sum
}

// charged is the memory of the sandbox's group, in bytes.
func (p *pod) charged(t testing.TB) int {
	t.Helper()
	for _, file := range []string{"/sys/fs/cgroup/memory%s/%s/memory.usage_in_bytes", "/sys/fs/cgroup%s/%s/memory.current"} {
		b, err := os.ReadFile(fmt.Sprintf(file, p.config.Linux.CgroupParent, p.id))
		if err == nil {
			n, _ := strconv.Atoi(strings.TrimSpace(string(b)))
			return n
		}
	}
	t.Fatalf("no memory group of pod %s", p.id)
	return 0
}
