// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	v1 "github.com/containerd/cgroups/v3/cgroup1/stats"
	v2 "github.com/containerd/cgroups/v3/cgroup2/stats"

	"foundry/shim/view"
)

var errNoStats = errors.New("no statistics of this type")

// usage measures a container: what its cgroup says, in the words of the view.
func (c *container) usage() (*view.Usage, error) {
	run := c.made()
	if run == nil {
		return nil, errNoContainer
	}
	stats, err := run.Stats()
	if err != nil {
		return nil, err
	}
	u := &view.Usage{At: time.Now()}
	switch m := stats.(type) {
	case *v1.Metrics:
		usage1(u, m)
	case *v2.Metrics:
		usage2(u, m)
	default:
		return nil, fmt.Errorf("measure %q: %w: %T", c.key.ID, errNoStats, stats)
	}
	return u, nil
}

func usage1(u *view.Usage, m *v1.Metrics) {
	u.CPU = time.Duration(m.GetCPU().GetUsage().GetTotal())
	u.Throttled = time.Duration(m.GetCPU().GetThrottling().GetThrottledTime())
	u.Pids, u.PidsLimit = m.GetPids().GetCurrent(), m.GetPids().GetLimit()
	if mem := m.GetMemory(); mem != nil {
		u.Memory, u.MemoryPeak = mem.GetUsage().GetUsage(), mem.GetUsage().GetMax()
		u.MemoryLimit = limit(mem.GetUsage().GetLimit())
		if swap := mem.GetSwap().GetUsage(); swap > u.Memory { // v1 counts both together
			u.Swap = swap - u.Memory
		}
	}
	u.OOMKills = m.GetMemoryOomControl().GetOomKill()
	for _, e := range m.GetBlkio().GetIoServiceBytesRecursive() {
		switch strings.ToLower(e.Op) {
		case "read":
			u.ReadBytes += e.Value
		case "write":
			u.WriteBytes += e.Value
		}
	}
}

func usage2(u *view.Usage, m *v2.Metrics) {
	u.CPU = time.Duration(m.GetCPU().GetUsageUsec()) * time.Microsecond
	u.Throttled = time.Duration(m.GetCPU().GetThrottledUsec()) * time.Microsecond
	u.Pids, u.PidsLimit = m.GetPids().GetCurrent(), limit(m.GetPids().GetLimit())
	if mem := m.GetMemory(); mem != nil {
		u.Memory, u.MemoryPeak, u.Swap = mem.Usage, mem.MaxUsage, mem.SwapUsage
		u.MemoryLimit = limit(mem.UsageLimit)
	}
	u.OOMKills = m.GetMemoryEvents().GetOomKill()
	for _, e := range m.GetIo().GetUsage() {
		u.ReadBytes += e.Rbytes
		u.WriteBytes += e.Wbytes
	}
	u.Pressure = map[string]*view.Pressure{}
	for what, psi := range map[string]*v2.PSIStats{
		"cpu": m.GetCPU().GetPSI(), "memory": m.GetMemory().GetPSI(), "io": m.GetIo().GetPSI(),
	} {
		if psi != nil {
			u.Pressure[what] = &view.Pressure{
				Some: time.Duration(psi.GetSome().GetTotal()) * time.Microsecond,
				Full: time.Duration(psi.GetFull().GetTotal()) * time.Microsecond,
			}
		}
	}
}

// limit is 0 for what is as good as none: "max", or v1's largest number of
// whole pages.
func limit(n uint64) uint64 {
	if n > math.MaxInt64-1<<16 {
		return 0
	}
	return n
}
