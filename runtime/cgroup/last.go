// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"sync"

	v1 "github.com/containerd/cgroups/v3/cgroup1/stats"
	v2 "github.com/containerd/cgroups/v3/cgroup2/stats"
	"google.golang.org/protobuf/proto"
)

// last is what was last read of a scope, which systemd removes with the last
// process in it. Containerd asks later than that why a container was killed.
type last struct {
	mu      sync.Mutex // guards what follows
	metrics any
	kills   uint64
}

func (l *last) keep(metrics any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.metrics = metrics
}

func (l *last) keepKills(n uint64) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kills = max(l.kills, n)
	return l.kills
}

// stats are those of the last reading, with all kills that are known of.
func (l *last) stats() any {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch m := l.metrics.(type) {
	case *v1.Metrics:
		m = proto.CloneOf(m)
		if m.MemoryOomControl != nil {
			m.MemoryOomControl.OomKill = max(m.MemoryOomControl.OomKill, l.kills)
		}
		return m
	case *v2.Metrics:
		m = proto.CloneOf(m)
		if m.MemoryEvents != nil {
			m.MemoryEvents.OomKill = max(m.MemoryEvents.OomKill, l.kills)
		}
		return m
	}
	return nil
}
