// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cilium/ebpf"

	"foundry/bpf"
)

// Counters reads what was counted, all CPUs added up: who, what was done, why
// and in which direction. Endpoint 0 is the uplink.
func (d *Datapath) Counters() (map[bpf.StatsKey]bpf.Count, error) {
	sums := map[bpf.StatsKey]bpf.Count{}
	var key bpf.StatsKey
	var perCPU []bpf.Count
	it := d.tc.Maps["stats_ep"].Iterate()
	for it.Next(&key, &perCPU) {
		var sum bpf.Count
		for _, c := range perCPU {
			sum.Packets, sum.Bytes = sum.Packets+c.Packets, sum.Bytes+c.Bytes
		}
		sums[key] = sum
	}
	if err := it.Err(); err != nil {
		return nil, fmt.Errorf("read counters: %w", err)
	}
	return sums, nil
}

// forget removes the counters of endpoints that are gone: the next on a
// device of the same number begins at zero.
func (d *Datapath) forget(want map[uint32]bpf.Endpoint) ([]step, error) {
	counters, err := d.Counters()
	if err != nil {
		return nil, err
	}
	gone := map[uint32][]bpf.StatsKey{}
	for key := range counters {
		if _, ok := want[key.Endpoint]; !ok && key.Endpoint != 0 {
			gone[key.Endpoint] = append(gone[key.Endpoint], key)
		}
	}
	var steps []step
	for _, id := range slices.Sorted(maps.Keys(gone)) {
		steps = append(steps, step{Change{"delete", "stats_ep", fmt.Sprint(id)}, func() error {
			return removeAll(d.tc.Maps["stats_ep"], gone[id])
		}})
	}
	return steps, nil
}

func removeAll(m *ebpf.Map, keys []bpf.StatsKey) error {
	var errs []error
	for _, k := range keys {
		errs = append(errs, remove(m, &k))
	}
	return errors.Join(errs...)
}
