// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"strings"

	v1 "github.com/containerd/cgroups/v3/cgroup1/stats"
)

func (r *reader) metrics1() *v1.Metrics {
	m := &v1.Metrics{
		Hugetlb: r.hugetlb1(),
		CPU:     r.cpu1(),
		Blkio:   r.blkio1(),
	}
	if r.group.dir("pids") != "" {
		m.Pids = &v1.PidsStat{Current: r.count("pids", "pids.current"), Limit: noLimit(r.count("pids", "pids.max"))}
	}
	if r.group.dir("memory") != "" {
		m.Memory = r.memory1()
		oom := r.fields("memory", "memory.oom_control")
		m.MemoryOomControl = &v1.MemoryOomControl{OomKillDisable: oom["oom_kill_disable"], UnderOom: oom["under_oom"], OomKill: oom["oom_kill"]}
		// Kills in groups that the container made count for it: CRI looks
		// here to tell whether a container that exited with 137 ran out of memory.
		if n, err := r.group.OOMKills(); err == nil {
			m.MemoryOomControl.OomKill = n
		}
	}
	if r.group.dir("rdma") != "" {
		m.Rdma = &v1.RdmaStat{}
		for _, e := range parseRdma(r.text("rdma", "rdma.current")) {
			m.Rdma.Current = append(m.Rdma.Current, &v1.RdmaEntry{Device: e.device, HcaHandles: e.handles, HcaObjects: e.objects})
		}
		for _, e := range parseRdma(r.text("rdma", "rdma.max")) {
			m.Rdma.Limit = append(m.Rdma.Limit, &v1.RdmaEntry{Device: e.device, HcaHandles: e.handles, HcaObjects: e.objects})
		}
	}
	return m
}

func (r *reader) cpu1() *v1.CPUStat {
	usage := &v1.CPUUsage{
		Total:  r.count("cpuacct", "cpuacct.usage"),
		Kernel: r.count("cpuacct", "cpuacct.usage_sys"),
		User:   r.count("cpuacct", "cpuacct.usage_user"),
	}
	for f := range strings.FieldsSeq(r.text("cpuacct", "cpuacct.usage_percpu")) {
		usage.PerCPU = append(usage.PerCPU, parseCount(f))
	}
	s := r.fields("cpu", "cpu.stat")
	return &v1.CPUStat{
		Usage:      usage,
		Throttling: &v1.Throttle{Periods: s["nr_periods"], ThrottledPeriods: s["nr_throttled"], ThrottledTime: s["throttled_time"]},
	}
}

// memory1 copies memory.stat, one line a figure; every figure of the group has
// a twin with the groups below it included.
func (r *reader) memory1() *v1.MemoryStat {
	s := r.fields("memory", "memory.stat")
	return &v1.MemoryStat{
		Cache:                   s["cache"],
		RSS:                     s["rss"],
		RSSHuge:                 s["rss_huge"],
		MappedFile:              s["mapped_file"],
		Dirty:                   s["dirty"],
		Writeback:               s["writeback"],
		PgPgIn:                  s["pgpgin"],
		PgPgOut:                 s["pgpgout"],
		PgFault:                 s["pgfault"],
		PgMajFault:              s["pgmajfault"],
		InactiveAnon:            s["inactive_anon"],
		ActiveAnon:              s["active_anon"],
		InactiveFile:            s["inactive_file"],
		ActiveFile:              s["active_file"],
		Unevictable:             s["unevictable"],
		HierarchicalMemoryLimit: s["hierarchical_memory_limit"],
		HierarchicalSwapLimit:   s["hierarchical_memsw_limit"],
		TotalCache:              s["total_cache"],
		TotalRSS:                s["total_rss"],
		TotalRSSHuge:            s["total_rss_huge"],
		TotalMappedFile:         s["total_mapped_file"],
		TotalDirty:              s["total_dirty"],
		TotalWriteback:          s["total_writeback"],
		TotalPgPgIn:             s["total_pgpgin"],
		TotalPgPgOut:            s["total_pgpgout"],
		TotalPgFault:            s["total_pgfault"],
		TotalPgMajFault:         s["total_pgmajfault"],
		TotalInactiveAnon:       s["total_inactive_anon"],
		TotalActiveAnon:         s["total_active_anon"],
		TotalInactiveFile:       s["total_inactive_file"],
		TotalActiveFile:         s["total_active_file"],
		TotalUnevictable:        s["total_unevictable"],

		Usage:     r.entry1("memory."),
		Swap:      r.entry1("memory.memsw."),
		Kernel:    r.entry1("memory.kmem."),
		KernelTCP: r.entry1("memory.kmem.tcp."),
	}
}

func (r *reader) entry1(prefix string) *v1.MemoryEntry {
	return &v1.MemoryEntry{
		Limit:   r.count("memory", prefix+"limit_in_bytes"),
		Usage:   r.count("memory", prefix+"usage_in_bytes"),
		Max:     r.count("memory", prefix+"max_usage_in_bytes"),
		Failcnt: r.count("memory", prefix+"failcnt"),
	}
}

func (r *reader) hugetlb1() []*v1.HugetlbStat {
	var all []*v1.HugetlbStat
	for _, size := range pageSizes(r.group.dir("hugetlb"), ".usage_in_bytes") {
		file := "hugetlb." + size
		all = append(all, &v1.HugetlbStat{
			Pagesize: size,
			Usage:    r.count("hugetlb", file+".usage_in_bytes"),
			Max:      r.count("hugetlb", file+".max_usage_in_bytes"),
			Failcnt:  r.count("hugetlb", file+".failcnt"),
		})
	}
	return all
}

// blkio1 takes what the block layer counts for every scheduler. The recursive
// files count the groups below too; kernels before 4.20 lack them.
func (r *reader) blkio1() *v1.BlkIOStat {
	if r.group.dir("blkio") == "" {
		return nil
	}
	read := func(name string) []*v1.BlkIOEntry {
		text := r.text("blkio", "blkio.throttle."+name+"_recursive")
		if text == "" {
			text = r.text("blkio", "blkio.throttle."+name)
		}
		return parseBlkio(text)
	}
	return &v1.BlkIOStat{IoServiceBytesRecursive: read("io_service_bytes"), IoServicedRecursive: read("io_serviced")}
}

// parseBlkio reads lines like "8:0 Read 4096"; the grand total has no device.
func parseBlkio(text string) []*v1.BlkIOEntry {
	var all []*v1.BlkIOEntry
	for l := range strings.Lines(text) {
		f := strings.Fields(l)
		if len(f) != 3 {
			continue
		}
		major, minor, ok := strings.Cut(f[0], ":")
		if !ok {
			continue
		}
		all = append(all, &v1.BlkIOEntry{Op: f[1], Major: parseCount(major), Minor: parseCount(minor), Value: parseCount(f[2])})
	}
	return all
}

type rdmaEntry struct {
	device           string
	handles, objects uint32
}

// parseRdma reads lines like "mlx5_0 hca_handle=2 hca_object=max".
func parseRdma(text string) []rdmaEntry {
	var all []rdmaEntry
	for l := range strings.Lines(text) {
		f := strings.Fields(l)
		if len(f) == 0 {
			continue
		}
		e := rdmaEntry{device: f[0]}
		for _, pair := range f[1:] {
			switch key, v, _ := strings.Cut(pair, "="); key {
			case "hca_handle":
				e.handles = uint32(min(parseCount(v), 1<<32-1))
			case "hca_object":
				e.objects = uint32(min(parseCount(v), 1<<32-1))
			}
		}
		all = append(all, e)
	}
	return all
}
