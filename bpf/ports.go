// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
)

const (
	portSlots   = 2048
	portReasons = 3
)

// portKey says what counts[i] of an owner counts.
func portKey(owner uint32, i int) StatsKey {
	return StatsKey{Endpoint: owner - 1, Action: TCActionACT_REDIRECT, Direction: TCDirection(i / portReasons),
		Reason: []Reason{TCReasonREASON_LOCAL, TCReasonREASON_REMOTE, TCReasonREASON_DECAPSULATED}[i%portReasons]}
}

// ReadPorts reads the map stats_port: what stats_ep would have under the same
// keys. A key comes once for each CPU that counted under it.
func ReadPorts(m *ebpf.Map, add func(StatsKey, Count)) error {
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return err
	}
	const atOnce = 64 // of many CPUs each
	slots, ports := make([]uint32, atOnce), make([]TCPortCount, atOnce*cpus)
	var cursor ebpf.MapBatchCursor
	for {
		n, err := m.BatchLookup(&cursor, slots, ports, nil)
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("read stats_port: %w", err)
		}
		for _, p := range ports[:n*cpus] {
			p.each(add)
		}
		if err != nil {
			return nil
		}
	}
}

func (p *TCPortCount) each(add func(StatsKey, Count)) {
	for i, c := range p.Counts {
		if p.Owner != 0 && c.Packets != 0 {
			add(portKey(p.Owner, i), c)
		}
	}
}

// ClearPort forgets what stats_port has of an endpoint, and leaves what it
// has of another one under the same number, but for what that is counted for
// at this very moment. Absent is success.
func ClearPort(m *ebpf.Map, endpoint uint32) error {
	var perCPU []TCPortCount
	if err := m.Lookup(endpoint%portSlots, &perCPU); err != nil {
		return fmt.Errorf("read counters of endpoint %d: %w", endpoint, err)
	}
	found := false
	for i := range perCPU {
		if perCPU[i].Owner == endpoint+1 {
			perCPU[i], found = TCPortCount{}, true
		}
	}
	if !found {
		return nil
	}
	if err := m.Put(endpoint%portSlots, perCPU); err != nil {
		return fmt.Errorf("clear counters of endpoint %d: %w", endpoint, err)
	}
	return nil
}
