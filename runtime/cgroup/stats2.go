// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"strconv"
	"strings"

	v2 "github.com/containerd/cgroups/v3/cgroup2/stats"
)

func (r *reader) metrics2() *v2.Metrics {
	m := &v2.Metrics{
		CPU:     r.cpu2(),
		Memory:  r.memory2(),
		Io:      &v2.IOStat{Usage: parseIO(r.text("io", "io.stat")), PSI: r.pressure("io.pressure")},
		Hugetlb: r.hugetlb2(),
		Pids:    &v2.PidsStat{Current: r.count("pids", "pids.current"), Limit: r.count("pids", "pids.max")},
		Rdma:    &v2.RdmaStat{},
	}
	if e := r.fields("memory", "memory.events"); len(e) > 0 {
		m.MemoryEvents = &v2.MemoryEvents{Low: e["low"], High: e["high"], Max: e["max"], Oom: e["oom"], OomKill: e["oom_kill"], OomGroupKill: e["oom_group_kill"]}
	}
	for _, e := range parseRdma(r.text("rdma", "rdma.current")) {
		m.Rdma.Current = append(m.Rdma.Current, &v2.RdmaEntry{Device: e.device, HcaHandles: e.handles, HcaObjects: e.objects})
	}
	for _, e := range parseRdma(r.text("rdma", "rdma.max")) {
		m.Rdma.Limit = append(m.Rdma.Limit, &v2.RdmaEntry{Device: e.device, HcaHandles: e.handles, HcaObjects: e.objects})
	}
	return m
}

func (r *reader) cpu2() *v2.CPUStat {
	s := r.fields("cpu", "cpu.stat")
	return &v2.CPUStat{
		UsageUsec:     s["usage_usec"],
		UserUsec:      s["user_usec"],
		SystemUsec:    s["system_usec"],
		NrPeriods:     s["nr_periods"],
		NrThrottled:   s["nr_throttled"],
		ThrottledUsec: s["throttled_usec"],
		NrBursts:      s["nr_bursts"],
		BurstUsec:     s["burst_usec"],
		PSI:           r.pressure("cpu.pressure"),
	}
}

// memory2 copies memory.stat, one line a figure; it counts the groups below too.
func (r *reader) memory2() *v2.MemoryStat {
	s := r.fields("memory", "memory.stat")
	return &v2.MemoryStat{
		Anon:                  s["anon"],
		File:                  s["file"],
		KernelStack:           s["kernel_stack"],
		Slab:                  s["slab"],
		Sock:                  s["sock"],
		Shmem:                 s["shmem"],
		FileMapped:            s["file_mapped"],
		FileDirty:             s["file_dirty"],
		FileWriteback:         s["file_writeback"],
		AnonThp:               s["anon_thp"],
		InactiveAnon:          s["inactive_anon"],
		ActiveAnon:            s["active_anon"],
		InactiveFile:          s["inactive_file"],
		ActiveFile:            s["active_file"],
		Unevictable:           s["unevictable"],
		SlabReclaimable:       s["slab_reclaimable"],
		SlabUnreclaimable:     s["slab_unreclaimable"],
		Pgfault:               s["pgfault"],
		Pgmajfault:            s["pgmajfault"],
		WorkingsetRefault:     s["workingset_refault"],
		WorkingsetActivate:    s["workingset_activate"],
		WorkingsetNodereclaim: s["workingset_nodereclaim"],
		Pgrefill:              s["pgrefill"],
		Pgscan:                s["pgscan"],
		Pgsteal:               s["pgsteal"],
		Pgactivate:            s["pgactivate"],
		Pgdeactivate:          s["pgdeactivate"],
		Pglazyfree:            s["pglazyfree"],
		Pglazyfreed:           s["pglazyfreed"],
		ThpFaultAlloc:         s["thp_fault_alloc"],
		ThpCollapseAlloc:      s["thp_collapse_alloc"],

		Usage:        r.count("memory", "memory.current"),
		UsageLimit:   r.count("memory", "memory.max"),
		MaxUsage:     r.count("memory", "memory.peak"),
		SwapUsage:    r.count("memory", "memory.swap.current"),
		SwapLimit:    r.count("memory", "memory.swap.max"),
		SwapMaxUsage: r.count("memory", "memory.swap.peak"),
		PSI:          r.pressure("memory.pressure"),
	}
}

func (r *reader) hugetlb2() []*v2.HugeTlbStat {
	var all []*v2.HugeTlbStat
	for _, size := range pageSizes(r.group.v2, ".current") {
		file := "hugetlb." + size
		all = append(all, &v2.HugeTlbStat{
			Pagesize: size,
			Current:  r.count("hugetlb", file+".current"),
			Max:      r.count("hugetlb", file+".max"),
			Failcnt:  field(r.text("hugetlb", file+".events"), "max"),
		})
	}
	return all
}

// pressure is nil on a kernel that does not measure it. It is of the v2 tree,
// also on a hybrid host.
func (r *reader) pressure(file string) *v2.PSIStats {
	if r.group.v2 == "" {
		return nil
	}
	return parsePressure(r.textIn(r.group.v2, file))
}

// parsePressure reads "some avg10=0.00 avg60=0.00 avg300=0.00 total=0" and the
// same for "full".
func parsePressure(text string) *v2.PSIStats {
	if text == "" {
		return nil
	}
	stats := &v2.PSIStats{}
	for l := range strings.Lines(text) {
		f := strings.Fields(l)
		data := &v2.PSIData{}
		for _, pair := range f[min(1, len(f)):] {
			key, v, _ := strings.Cut(pair, "=")
			share, _ := strconv.ParseFloat(v, 64)
			switch key {
			case "avg10":
				data.Avg10 = share
			case "avg60":
				data.Avg60 = share
			case "avg300":
				data.Avg300 = share
			case "total":
				data.Total = parseCount(v)
			}
		}
		switch {
		case len(f) == 0:
		case f[0] == "some":
			stats.Some = data
		case f[0] == "full":
			stats.Full = data
		}
	}
	return stats
}

// parseIO reads lines like "8:0 rbytes=4096 wbytes=0 rios=1 wios=0". A device
// without traffic may have a line without figures.
func parseIO(text string) []*v2.IOEntry {
	var all []*v2.IOEntry
	for l := range strings.Lines(text) {
		f := strings.Fields(l)
		if len(f) < 2 {
			continue
		}
		major, minor, ok := strings.Cut(f[0], ":")
		if !ok {
			continue
		}
		e := &v2.IOEntry{Major: parseCount(major), Minor: parseCount(minor)}
		for _, pair := range f[1:] {
			switch key, v, _ := strings.Cut(pair, "="); key {
			case "rbytes":
				e.Rbytes = parseCount(v)
			case "wbytes":
				e.Wbytes = parseCount(v)
			case "rios":
				e.Rios = parseCount(v)
			case "wios":
				e.Wios = parseCount(v)
			}
		}
		all = append(all, e)
	}
	return all
}
