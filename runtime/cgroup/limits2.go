// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// keepQuota stands in cpu.max for the quota that is in force.
const keepQuota = "keep"

// settings2 is for cgroup v2. What v2 has no file for (real-time bandwidth,
// swappiness, the OOM killer's switch, kernel memory, network classes) is
// left out without an error, as runc does: specs are written once for both.
func settings2(r *specs.LinuxResources) ([]setting, error) {
	memory, err := memory2(r.Memory)
	if err != nil {
		return nil, err
	}
	return slices.Concat(pids(r.Pids), memory, io2(r.BlockIO), cpu2(r.CPU),
		hugetlb(r.HugepageLimits, ".max"), rdma(r.Rdma), unified2(r.Unified)), nil
}

func cpu2(c *specs.LinuxCPU) []setting {
	if c == nil {
		return nil
	}
	l := list{controller: "cpu"}
	if c.Idle != nil {
		l.add("cpu.idle", fmt.Sprint(*c.Idle))
	}
	if c.Shares != nil && *c.Shares != 0 {
		l.add("cpu.weight", strconv.FormatUint(weightOfShares(*c.Shares), 10))
	}
	if c.Burst != nil {
		l.add("cpu.max.burst", fmt.Sprint(*c.Burst))
	}
	quota, period := number(c.Quota), number(c.Period)
	if c.Quota != nil && *c.Quota < 0 {
		quota = "max"
	}
	switch {
	case quota != "" && period != "":
		l.add("cpu.max", quota+" "+period)
	case quota != "":
		l.add("cpu.max", quota) // the period stays
	case period != "":
		l.add("cpu.max", keepQuota+" "+period)
	}
	l.controller = "cpuset"
	l.add("cpuset.cpus", c.Cpus)
	l.add("cpuset.mems", c.Mems)
	return l.s
}

// weightOfShares maps [2, 262144] of v1 to [1, 10000] of v2 so that both
// defaults, 1024 and 100, meet: a quadratic in log2(shares) through three
// points, the same as in runc and crun, or neighbours would weigh differently.
func weightOfShares(shares uint64) uint64 {
	l := math.Log2(float64(min(max(shares, 2), 262144)))
	return min(uint64(math.Ceil(math.Pow(10, (l*l+125*l)/612-7.0/34))), 10000)
}

func memory2(m *specs.LinuxMemory) ([]setting, error) {
	if m == nil {
		return nil, nil
	}
	l := list{controller: "memory"}
	swap, err := swap2(value(m.Limit), value(m.Swap))
	if err != nil {
		return nil, err
	}
	// Without swap accounting there is no file; then "no swap" and "no limit"
	// are both what the container has anyway.
	l.add("memory.swap.max", swap).optional = swap == "0" || swap == "max"
	l.add("memory.max", orMax(value(m.Limit)))
	l.add("memory.low", orMax(value(m.Reservation)))
	return l.s, nil
}

// swap2 turns the sum of memory and swap, which v1 limits, into swap alone.
func swap2(memory, sum int64) (string, error) {
	switch {
	case sum == 0 && memory == -1:
		return "max", nil
	case sum == 0 || sum == -1:
		return orMax(sum), nil
	case memory == -1:
		return strconv.FormatInt(sum, 10), nil
	case memory == 0:
		return "", &LimitError{"memory.swap", "is a limit on memory and swap together and needs memory.limit"}
	case memory < 0 || sum < 0:
		return "", &LimitError{"memory.swap", fmt.Sprintf("limits %d and %d cannot be subtracted", sum, memory)}
	case sum < memory:
		return "", &LimitError{"memory.swap", fmt.Sprintf("%d is less than memory.limit %d, which it includes", sum, memory)}
	}
	return strconv.FormatInt(sum-memory, 10), nil
}

func value(p *int64) int64 {
	if p == nil {
		return 0
	}
	return *p
}

func orMax(n int64) string {
	switch n {
	case 0:
		return ""
	case -1:
		return "max"
	}
	return strconv.FormatInt(n, 10)
}

func io2(b *specs.LinuxBlockIO) []setting {
	if b == nil {
		return nil
	}
	l := list{controller: "io"}
	if w := number(b.Weight); w != "" {
		converted := 1 + (uint64(*b.Weight)-10)*9999/990 // [10, 1000] to [1, 10000]
		l.add("io.bfq.weight", w).alt = [2]string{"io.weight", strconv.FormatUint(converted, 10)}
	}
	for _, d := range b.WeightDevice {
		if w := number(d.Weight); w != "" {
			key := devNumber(d.LinuxBlockIODevice)
			s := l.add("io.bfq.weight", key+" "+w)
			s.key, s.reset, s.optional = key, key+" default", true
		}
	}
	for _, t := range throttles(b) {
		for _, d := range t.list {
			key, rate := devNumber(d.LinuxBlockIODevice), "max"
			if d.Rate != 0 {
				rate = strconv.FormatUint(d.Rate, 10)
			}
			s := l.add("io.max", fmt.Sprintf("%s %s=%s", key, t.v2, rate))
			s.key, s.reset = key, key+" rbps=max wbps=max riops=max wiops=max"
		}
	}
	return l.s
}

// unified2 writes files by name, last, so that they win over the converted
// ones. A value of several lines is several writes.
func unified2(files map[string]string) []setting {
	var l list
	for _, file := range sortedKeys(files) {
		l.controller, _, _ = strings.Cut(file, ".")
		keyed := l.controller == "io" || file == "rdma.max" || file == "misc.max"
		for line := range strings.Lines(files[file]) {
			s := l.add(file, strings.TrimRight(line, "\n"))
			if key, _, ok := strings.Cut(s.value, " "); ok && keyed {
				s.key = key
			}
		}
	}
	return l.s
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
