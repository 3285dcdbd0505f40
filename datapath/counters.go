// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"foundry/bpf"
)

// Counters reads what was counted, all CPUs added up: who, what was done, why
// and in which direction. Endpoint 0 is the uplink.
func (d *Datapath) Counters() (map[bpf.StatsKey]bpf.Count, error) {
	sums := map[bpf.StatsKey]bpf.Count{}
	add := func(key bpf.StatsKey, c bpf.Count) {
		sums[key] = bpf.Count{Packets: sums[key].Packets + c.Packets, Bytes: sums[key].Bytes + c.Bytes}
	}
	var key bpf.StatsKey
	var perCPU []bpf.Count
	it := d.tc.Maps["stats_ep"].Iterate()
	for it.Next(&key, &perCPU) {
		for _, c := range perCPU {
			add(key, c)
		}
	}
	if err := it.Err(); err != nil {
		return nil, fmt.Errorf("read counters: %w", err)
	}
	if err := bpf.ReadPorts(d.tc.Maps["stats_port"], add); err != nil {
		return nil, fmt.Errorf("read counters: %w", err)
	}
	return sums, nil
}

// forgetSteps removes the counters of endpoints that are gone: the next on a
// device of the same number begins at zero.
func (d *Datapath) forgetSteps(want *draft) (steps []step, err error) {
	gone := map[uint32][]bpf.StatsKey{}
	if want.whole {
		counters, err := d.Counters()
		if err != nil {
			return nil, err
		}
		for key := range counters {
			if _, ok := want.index.endpoints[int(key.Endpoint)]; !ok && key.Endpoint != 0 {
				gone[key.Endpoint] = append(gone[key.Endpoint], key)
			}
		}
	} else {
		for _, ifindex := range want.gone {
			if _, ok := want.index.endpoints[ifindex]; !ok {
				gone[uint32(ifindex)] = statsKeys(uint32(ifindex))
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(gone)) {
		steps = append(steps, step{verb: "delete", object: "stats_ep", n: 1, key: func(int) string { return fmt.Sprint(id) },
			do: func() (int, error) {
				_, err := removeEach(d.tc.Maps["stats_ep"], gone[id])
				return 1, errors.Join(err, bpf.ClearPort(d.tc.Maps["stats_port"], id))
			}})
	}
	return steps, nil
}

// statsKeys are all that an endpoint can be counted under: fewer by far than
// the counters of all.
func statsKeys(endpoint uint32) (keys []bpf.StatsKey) {
	for a := range bpf.TCActionACT_COUNT {
		for r := range bpf.TCReasonREASON_COUNT {
			for _, dir := range []bpf.TCDirection{bpf.TCDirectionDIR_FROM, bpf.TCDirectionDIR_TO} {
				keys = append(keys, bpf.StatsKey{Endpoint: endpoint, Reason: r, Action: a, Direction: dir})
			}
		}
	}
	return keys
}
