// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"maps"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// someLimits set a value in every controller that both v1 and v2 have.
func someLimits() *specs.LinuxResources {
	return &specs.LinuxResources{
		Memory: &specs.LinuxMemory{Limit: ptr(int64(64 << 20)), Swap: ptr(int64(64 << 20)), Reservation: ptr(int64(16 << 20))},
		CPU:    &specs.LinuxCPU{Shares: ptr(uint64(512)), Quota: ptr(int64(40000)), Period: ptr(uint64(100000))},
		Pids:   &specs.LinuxPids{Limit: ptr(int64(100))},
	}
}

func TestUpdate(t *testing.T) {
	info := hostInfo(t)
	g := create(t, info, groupPath(t, info), someLimits())
	pid := run(t, g, "echo ready; exec sleep 1000").Process.Pid
	for _, c := range []struct {
		name   string
		r      specs.LinuxResources
		v1, v2 string
	}{
		{"memory up", specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(128 << 20)), Swap: ptr(int64(256 << 20))}},
			"memory.limit_in_bytes=134217728 memory.memsw.limit_in_bytes=268435456", "memory.max=134217728 memory.swap.max=134217728"},
		{"memory down", specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(32 << 20)), Swap: ptr(int64(32 << 20))}},
			"memory.limit_in_bytes=33554432 memory.memsw.limit_in_bytes=33554432", "memory.max=33554432 memory.swap.max=0"},
		{"memory unlimited", specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(-1))}},
			"memory.limit_in_bytes=9223372036854771712 memory.memsw.limit_in_bytes=9223372036854771712", "memory.max=max memory.swap.max=max"},
		{"pids", specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ptr(int64(7))}}, "pids.max=7", "pids.max=7"},
		{"quota alone keeps the period", specs.LinuxResources{CPU: &specs.LinuxCPU{Period: ptr(uint64(50000))}},
			"cpu.cfs_quota_us=40000 cpu.cfs_period_us=50000", "cpu.max=40000_50000"},
		{"period alone keeps the quota", specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: ptr(int64(20000))}},
			"cpu.cfs_quota_us=20000 cpu.cfs_period_us=50000", "cpu.max=20000_50000"},
		{"quota and period", specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: ptr(int64(2000)), Period: ptr(uint64(2000))}},
			"cpu.cfs_quota_us=2000 cpu.cfs_period_us=2000", "cpu.max=2000_2000"},
		{"no quota", specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: ptr(int64(-1))}}, "cpu.cfs_quota_us=-1", "cpu.max=max_2000"},
		{"shares", specs.LinuxResources{CPU: &specs.LinuxCPU{Shares: ptr(uint64(2048))}}, "cpu.shares=2048", "cpu.weight=174"},
		{"nothing", specs.LinuxResources{}, "cpu.shares=2048 pids.max=7", "cpu.weight=174 pids.max=7"},
	} {
		if err := g.Update(&c.r); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		want := c.v1
		if info.Unified {
			want = c.v2
		}
		got := limitsOf(g)
		for pair := range strings.FieldsSeq(want) {
			name, v, _ := strings.Cut(pair, "=")
			if g := strings.ReplaceAll(got[name], " ", "_"); g != v {
				t.Errorf("%s: %s = %q, want %q", c.name, name, g, v)
			}
		}
	}
	if got := pidsOf(t, g); len(got) != 1 || got[0] != pid {
		t.Errorf("Pids = %v, want [%d]", got, pid)
	}
}

// A value that is refused, before or by the kernel, changes nothing at all.
func TestUpdateIsAtomic(t *testing.T) {
	info := hostInfo(t)
	r := someLimits()
	r.Devices = []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}, rule("c", 10, 229, "rw")}
	g := create(t, info, groupPath(t, info), r)
	before := limitsOf(g)
	for name, bad := range map[string]func(*specs.LinuxResources){
		"cpuset that does not exist": func(r *specs.LinuxResources) { r.CPU.Cpus = "4000" },
		"quota too small":            func(r *specs.LinuxResources) { r.CPU.Quota = ptr(int64(1)) },
		"period too small":           func(r *specs.LinuxResources) { r.CPU.Period = ptr(uint64(1)) },
		"swap below memory":          func(r *specs.LinuxResources) { r.Memory.Swap = ptr(int64(1 << 20)) },
		"unknown page size": func(r *specs.LinuxResources) {
			r.HugepageLimits = []specs.LinuxHugepageLimit{{Pagesize: "3MB", Limit: 1}}
		},
		"unknown rdma device": func(r *specs.LinuxResources) {
			r.Rdma = map[string]specs.LinuxRdma{"none": {HcaHandles: ptr(uint32(1))}}
		},
		"unknown unified file": func(r *specs.LinuxResources) { r.Unified = map[string]string{"memory.teapot": "1"} },
		"weight":               func(r *specs.LinuxResources) { r.BlockIO = &specs.LinuxBlockIO{Weight: ptr(uint16(2))} },
		"devices": func(r *specs.LinuxResources) {
			r.Devices = []specs.LinuxDeviceCgroup{{Allow: true, Type: "q", Access: "r"}}
		},
	} {
		r := &specs.LinuxResources{
			Memory:  &specs.LinuxMemory{Limit: ptr(int64(128 << 20)), Swap: ptr(int64(256 << 20)), Reservation: ptr(int64(8 << 20))},
			CPU:     &specs.LinuxCPU{Shares: ptr(uint64(100)), Quota: ptr(int64(10000)), Period: ptr(uint64(20000))},
			Pids:    &specs.LinuxPids{Limit: ptr(int64(5))},
			Devices: []specs.LinuxDeviceCgroup{rule("c", 10, 229, "rwm")},
		}
		bad(r)
		err := g.Update(r)
		if err == nil || !strings.Contains(err.Error(), g.Path()) {
			t.Errorf("%s: error %v", name, err)
		}
		if after := limitsOf(g); !maps.Equal(before, after) {
			t.Errorf("%s: changed\n%v\nto\n%v", name, before, after)
		}
	}
	if info.Unified {
		return
	}
	// Block device limits are undone line by line.
	for _, rate := range []uint64{1000, 0} {
		b := &specs.LinuxBlockIO{ThrottleReadBpsDevice: []specs.LinuxThrottleDevice{{Rate: rate}}}
		b.ThrottleReadBpsDevice[0].Major, b.ThrottleReadBpsDevice[0].Minor = 1, 1
		if err := g.Update(&specs.LinuxResources{BlockIO: b}); err == nil && rate == 0 {
			if after := limitsOf(g); !maps.Equal(before, after) {
				t.Errorf("a rate of 0 left %v", after)
			}
		}
	}
}

func TestUpdateChecksMemory(t *testing.T) {
	info := hostInfo(t)
	if !info.Unified {
		t.Skip("cgroup v1 refuses a limit below what is in use by itself")
	}
	g := create(t, info, groupPath(t, info), nil)
	// /tmp of the guests is a tmpfs: what is in its files is in use.
	run(t, g, "head -c 20000000 /dev/zero >"+t.TempDir()+"/full; echo ready; exec sleep 1000")
	r := &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(1 << 20)), CheckBeforeUpdate: ptr(true)}}
	if err := g.Update(r); err == nil || !strings.Contains(err.Error(), "bytes in use") {
		t.Errorf("Update below what is in use: %v", err)
	}
	if n, _ := g.OOMKills(); n != 0 || file(t, g, "memory", "memory.max") != "max" {
		t.Error("the refused limit was set")
	}
}
