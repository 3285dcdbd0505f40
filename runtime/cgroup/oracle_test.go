// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/cgroups"
	_ "github.com/opencontainers/cgroups/devices" // hooks itself into fs and fs2
	devices "github.com/opencontainers/cgroups/devices/config"
	"github.com/opencontainers/cgroups/fs"
	"github.com/opencontainers/cgroups/fs2"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// limitFiles are what Create writes to, and their neighbours.
var limitFiles = map[bool][]string{
	false: {
		"cpu cpu.shares", "cpu cpu.cfs_quota_us", "cpu cpu.cfs_period_us", "cpu cpu.cfs_burst_us", "cpu cpu.rt_period_us", "cpu cpu.rt_runtime_us", "cpu cpu.idle",
		"cpuset cpuset.cpus", "cpuset cpuset.mems", "pids pids.max", "devices devices.list",
		"memory memory.limit_in_bytes", "memory memory.memsw.limit_in_bytes", "memory memory.soft_limit_in_bytes", "memory memory.swappiness", "memory memory.oom_control", "memory memory.kmem.tcp.limit_in_bytes",
		"blkio blkio.weight", "blkio blkio.weight_device", "blkio blkio.bfq.weight", "blkio blkio.bfq.weight_device", "blkio blkio.throttle.read_bps_device",
		"blkio blkio.throttle.write_bps_device", "blkio blkio.throttle.read_iops_device", "blkio blkio.throttle.write_iops_device",
		"net_cls net_cls.classid", "net_prio net_prio.ifpriomap",
	},
	true: {
		"cpu cpu.weight", "cpu cpu.max", "cpu cpu.max.burst", "cpu cpu.idle", "cpuset cpuset.cpus", "cpuset cpuset.mems", "pids pids.max",
		"memory memory.max", "memory memory.swap.max", "memory memory.low", "memory memory.high", "memory memory.min", "memory memory.oom.group",
		"io io.weight", "io io.bfq.weight", "io io.max", "hugetlb hugetlb.2MB.max", "hugetlb hugetlb.2MB.rsvd.max", "hugetlb hugetlb.1GB.max", "rdma rdma.max", "cgroup cgroup.max.depth",
	},
}

// limitsOf reads them; the order of a file's lines means nothing.
func limitsOf(g *Group) map[string]string {
	all := map[string]string{}
	for _, f := range limitFiles[g.info.Unified] {
		controller, name, _ := strings.Cut(f, " ")
		dir := g.dir(controller)
		if dir == "" {
			continue
		}
		if text, err := readFile(dir, name); err == nil {
			lines := strings.Split(strings.TrimSpace(text), "\n")
			slices.Sort(lines)
			all[name] = strings.Join(lines, "; ")
		}
	}
	return all
}

// differs names deliberate differences from runc, each with its reason.
var differs = map[string]string{
	"io rate zero":             "runc writes a rate of 0 on v2, which the kernel refuses; on v1 it lifts the limit, so here it does on both",
	"unified members":          "runc lets the spec move processes",
	"unified kill":             "runc lets the spec kill",
	"kernel memory is ignored": "kernelTCP is not: the kernel still has it",
	"kernel tcp memory":        "runc dropped it; the kernel still has it",
	"no hierarchy":             "runc drops it; no kernel since 5.11 can do it, so on v1 it is refused",
	"io weight 9":              "on v2 runc's conversion wraps around; the spec says 10 to 1000",
	"io weight 1001":           "on v1 with BFQ runc lets it through; the spec says 10 to 1000",
}

// TestLimitsEqualRunc applies every case here and by runc's library, and
// compares all files that limit anything.
func TestLimitsEqualRunc(t *testing.T) {
	info := hostInfo(t)
	base := groupPath(t, info)
	top, err := Own(Config{Info: info, Path: base})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := top.Remove(); err != nil {
			t.Error(err)
		}
	})
	same := 0
	for _, c := range limitCases(t) {
		if differs[c.name] != "" {
			continue
		}
		r := c.parse(t)
		ours, ourErr := Create(Config{Info: info, Path: base + "/ours", Resources: r})
		theirs, theirErr := runcCreate(info, base+"/theirs", c.parse(t))
		switch {
		case (ourErr == nil) != (theirErr == nil):
			t.Errorf("%s: error %v, want like %v", c.name, ourErr, theirErr)
		case ourErr == nil:
			same++
			got, want := limitsOf(ours), limitsOf(theirs)
			for f := range want {
				if got[f] != want[f] {
					t.Errorf("%s: %s = %q, want %q", c.name, f, got[f], want[f])
				}
			}
		}
		for _, g := range []*Group{ours, theirs} {
			if g == nil {
				continue
			}
			if err := g.Remove(); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("%d cases end in the same files", same)
}

// runcCreate makes a group the way runc does.
func runcCreate(info Info, path string, r *specs.LinuxResources) (*Group, error) {
	res, err := runcResources(r)
	if err != nil {
		return nil, err
	}
	cg := &cgroups.Cgroup{Path: path, Resources: res}
	var m cgroups.Manager
	if info.Unified {
		m, err = fs2.NewManager(cg, info.Hierarchies[0].Mountpoint+path)
	} else {
		m, err = fs.NewManager(cg, nil)
	}
	if err != nil {
		return nil, err
	}
	if err = m.Apply(-1); err == nil {
		err = m.Set(res)
	}
	if err != nil {
		_ = newGroup(info, path).Remove()
		return nil, err
	}
	return newGroup(info, path), nil
}

// runcResources is what runc's specconv makes of linux.resources.
func runcResources(r *specs.LinuxResources) (*cgroups.Resources, error) {
	out := &cgroups.Resources{Unified: r.Unified}
	for _, d := range append(slices.Clone(r.Devices), alwaysAllowed...) {
		rule := &devices.Rule{Type: devices.WildcardDevice, Major: -1, Minor: -1, Permissions: devices.Permissions(d.Access), Allow: d.Allow}
		switch {
		case d.Access == "" || !rule.Permissions.IsValid():
			return nil, fmt.Errorf("access %q", d.Access)
		case d.Type == "b" || d.Type == "c":
			rule.Type = devices.Type(d.Type[0])
		case d.Type != "" && d.Type != "a":
			return nil, fmt.Errorf("type %q", d.Type)
		}
		if d.Major != nil {
			rule.Major = *d.Major
		}
		if d.Minor != nil {
			rule.Minor = *d.Minor
		}
		out.Devices = append(out.Devices, rule)
	}
	if m := r.Memory; m != nil {
		out.Memory, out.MemoryReservation, out.MemorySwap = value(m.Limit), value(m.Reservation), value(m.Swap)
		out.MemorySwappiness = m.Swappiness
		out.OomKillDisable = m.DisableOOMKiller != nil && *m.DisableOOMKiller
	}
	if r.Pids != nil {
		out.PidsLimit = r.Pids.Limit
	}
	for _, h := range r.HugepageLimits {
		out.HugetlbLimit = append(out.HugetlbLimit, &cgroups.HugepageLimit{Pagesize: h.Pagesize, Limit: h.Limit})
	}
	for name, l := range r.Rdma {
		if out.Rdma == nil {
			out.Rdma = map[string]cgroups.LinuxRdma{}
		}
		out.Rdma[name] = cgroups.LinuxRdma{HcaHandles: l.HcaHandles, HcaObjects: l.HcaObjects}
	}
	if n := r.Network; n != nil {
		if n.ClassID != nil {
			out.NetClsClassid = *n.ClassID
		}
		for _, p := range n.Priorities {
			out.NetPrioIfpriomap = append(out.NetPrioIfpriomap, &cgroups.IfPrioMap{Interface: p.Name, Priority: int64(p.Priority)})
		}
	}
	runcCPU(out, r.CPU)
	runcBlkio(out, r.BlockIO)
	return out, nil
}

func runcCPU(out *cgroups.Resources, c *specs.LinuxCPU) {
	if c == nil {
		return
	}
	if c.Shares != nil {
		out.CpuShares = *c.Shares
		out.CpuWeight = cgroups.ConvertCPUSharesToCgroupV2Value(*c.Shares)
	}
	if c.Period != nil {
		out.CpuPeriod = *c.Period
	}
	if c.RealtimePeriod != nil {
		out.CpuRtPeriod = *c.RealtimePeriod
	}
	out.CpuQuota, out.CpuRtRuntime = value(c.Quota), value(c.RealtimeRuntime)
	out.CpuBurst, out.CPUIdle = c.Burst, c.Idle
	out.CpusetCpus, out.CpusetMems = c.Cpus, c.Mems
}

func runcBlkio(out *cgroups.Resources, b *specs.LinuxBlockIO) {
	if b == nil {
		return
	}
	zero := func(p *uint16) uint16 {
		if p == nil {
			return 0
		}
		return *p
	}
	out.BlkioWeight, out.BlkioLeafWeight = zero(b.Weight), zero(b.LeafWeight)
	for _, d := range b.WeightDevice {
		out.BlkioWeightDevice = append(out.BlkioWeightDevice, cgroups.NewWeightDevice(d.Major, d.Minor, zero(d.Weight), zero(d.LeafWeight)))
	}
	for n, list := range []*[]*cgroups.ThrottleDevice{&out.BlkioThrottleReadBpsDevice, &out.BlkioThrottleWriteBpsDevice, &out.BlkioThrottleReadIOPSDevice, &out.BlkioThrottleWriteIOPSDevice} {
		for _, d := range throttles(b)[n].list {
			*list = append(*list, cgroups.NewThrottleDevice(d.Major, d.Minor, d.Rate))
		}
	}
}
