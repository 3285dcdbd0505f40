// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"math"
	"strings"
	"testing"
	"time"

	v1 "github.com/containerd/cgroups/v3/cgroup1/stats"
	"github.com/containerd/cgroups/v3/cgroup2"
	v2 "github.com/containerd/cgroups/v3/cgroup2/stats"
	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/cgroups/fs"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// flatten names every number of a message: "memory.usage.limit".
func flatten(prefix string, m protoreflect.Message, into map[string]float64) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		name := prefix + string(f.Name())
		put := func(name string, v protoreflect.Value) {
			switch f.Kind() {
			case protoreflect.MessageKind:
				flatten(name+".", v.Message(), into)
			case protoreflect.Uint64Kind, protoreflect.Uint32Kind:
				into[name] = float64(v.Uint())
			case protoreflect.DoubleKind:
				into[name] = v.Float()
			}
		}
		if !f.IsList() {
			put(name, v)
			return true
		}
		for n := range v.List().Len() {
			put(name+"."+itoa(n), v.List().Get(n))
		}
		return true
	})
}

// TestStatsEqual compares with what containerd's library (on v2) and runc's (on
// v1) read from the same group while its members are frozen.
func TestStatsEqual(t *testing.T) {
	info := hostInfo(t)
	g := create(t, info, groupPath(t, info), someLimits())
	run(t, g, "echo ready; n=0; while [ $n -lt 20000 ]; do n=$((n+1)); done; cat /bin/sh >/dev/null; exec sleep 1000")
	eventually(t, "the loop is over", func() bool {
		s, err := g.Stats()
		if err != nil {
			t.Fatal(err)
		}
		m := map[string]float64{}
		flatten("", s.(proto.Message).ProtoReflect(), m)
		return m["cpu.usage.total"]+m["cpu.usage_usec"]*1000 > 10e6
	})
	if err := g.Freeze(within(t, 10*time.Second)); err != nil {
		t.Fatal(err)
	}
	want := map[string]float64{}
	if info.Unified {
		m, err := cgroup2.Load(g.Path())
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := m.Stat()
		if err != nil {
			t.Fatal(err)
		}
		flatten("", theirs.ProtoReflect(), want)
	} else {
		runcStats(t, g, want)
	}
	ours, err := g.Stats()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	flatten("", ours.(proto.Message).ProtoReflect(), got)
	if info.Unified {
		for name := range got { // a number that only we have is wrong too
			want[name] += 0
		}
	}
	for name, w := range want {
		// Time goes on between the two readings, and memory is counted in batches.
		tolerance := 0.02*w + 1
		if strings.HasPrefix(name, "cpu") || strings.Contains(name, ".psi.") {
			tolerance = w*0.5 + 20e6
		}
		if strings.HasPrefix(name, "memory.") {
			tolerance = 0.05*w + 256<<10
		}
		if math.Abs(got[name]-w) > tolerance {
			t.Errorf("%s = %v, want %v", name, got[name], w)
		}
	}
	if len(want) < 10 {
		t.Errorf("compared %d numbers only", len(want))
	}
}

// runcStats fills in those numbers of v1 that runc's library has too, under
// the names that they have in containerd's metrics.
func runcStats(t *testing.T, g *Group, into map[string]float64) {
	t.Helper()
	m, err := fs.NewManager(&cgroups.Cgroup{Path: g.Path(), Resources: &cgroups.Resources{}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := m.GetStats()
	if err != nil {
		t.Fatal(err)
	}
	put := func(name string, n uint64) { into[name] = float64(n) }
	put("pids.current", s.PidsStats.Current)
	put("pids.limit", s.PidsStats.Limit)
	put("cpu.usage.total", s.CpuStats.CpuUsage.TotalUsage)
	put("cpu.usage.kernel", s.CpuStats.CpuUsage.UsageInKernelmode)
	put("cpu.usage.user", s.CpuStats.CpuUsage.UsageInUsermode)
	for n, v := range s.CpuStats.CpuUsage.PercpuUsage {
		put("cpu.usage.per_cpu."+itoa(n), v)
	}
	put("cpu.throttling.periods", s.CpuStats.ThrottlingData.Periods)
	put("cpu.throttling.throttled_periods", s.CpuStats.ThrottlingData.ThrottledPeriods)
	put("cpu.throttling.throttled_time", s.CpuStats.ThrottlingData.ThrottledTime)
	for name, e := range map[string]cgroups.MemoryData{
		"usage": s.MemoryStats.Usage, "swap": s.MemoryStats.SwapUsage, "kernel": s.MemoryStats.KernelUsage, "kernel_tcp": s.MemoryStats.KernelTCPUsage,
	} {
		put("memory."+name+".usage", e.Usage)
		put("memory."+name+".limit", e.Limit)
		put("memory."+name+".max", e.MaxUsage)
		put("memory."+name+".failcnt", e.Failcnt)
	}
	fields := (&v1.MemoryStat{}).ProtoReflect().Descriptor().Fields()
	for key, v := range s.MemoryStats.Stats {
		name := strings.NewReplacer("pgpg", "pg_pg_", "pgfault", "pg_fault", "pgmajfault", "pg_maj_fault", "memsw", "swap").Replace(key)
		if fields.ByName(protoreflect.Name(name)) != nil {
			put("memory."+name, v)
		}
	}
	for n, e := range s.BlkioStats.IoServiceBytesRecursive {
		put("blkio.io_service_bytes_recursive."+itoa(n)+".value", e.Value)
	}
}

// Metrics are wanted after init has gone: CRI asks why it was killed.
func TestStatsAfterExit(t *testing.T) {
	info := hostInfo(t)
	g := create(t, info, groupPath(t, info), nil)
	_ = run(t, g, "echo ready").Wait()
	s, err := g.Stats()
	if err != nil {
		t.Fatal(err)
	}
	switch s := s.(type) {
	case *v1.Metrics:
		if info.Unified || s.MemoryOomControl == nil || s.Pids == nil || s.Blkio == nil {
			t.Errorf("stats = %v", s)
		}
	case *v2.Metrics:
		if !info.Unified || s.MemoryEvents == nil || s.Pids == nil || s.Io == nil {
			t.Errorf("stats = %v", s)
		}
	}
}

func TestParsePressure(t *testing.T) {
	p := parsePressure("some avg10=1.50 avg60=0.25 avg300=0.01 total=12345\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n")
	if p.Some.Avg10 != 1.5 || p.Some.Avg60 != 0.25 || p.Some.Avg300 != 0.01 || p.Some.Total != 12345 || p.Full.Total != 7 {
		t.Errorf("parsePressure = %v", p)
	}
	if p := parsePressure(""); p != nil {
		t.Errorf("parsePressure of nothing = %v", p)
	}
}

func TestParseIO(t *testing.T) {
	got := parseIO("8:0 rbytes=90430464 wbytes=299008000 rios=8950 wios=1252 dbytes=50331648 dios=3021\n7:1 \n253:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0\n")
	if len(got) != 2 || got[0].Major != 8 || got[0].Rbytes != 90430464 || got[0].Wios != 1252 || got[1].Major != 253 || got[1].Rios != 1 {
		t.Errorf("parseIO = %v", got)
	}
}

func TestParseBlkio(t *testing.T) {
	got := parseBlkio("8:0 Read 1282048\n8:0 Total 3477504\nTotal 3477504\n")
	if len(got) != 2 || got[0].Major != 8 || got[0].Op != "Read" || got[0].Value != 1282048 {
		t.Errorf("parseBlkio = %v", got)
	}
}

func TestParseRdma(t *testing.T) {
	got := parseRdma("mlx4_0 hca_handle=2 hca_object=max\n\n")
	if len(got) != 1 || got[0] != (rdmaEntry{"mlx4_0", 2, math.MaxUint32}) {
		t.Errorf("parseRdma = %v", got)
	}
}
