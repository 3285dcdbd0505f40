// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// benchResources is what ctr and CRI give a small container.
func benchResources() *specs.LinuxResources {
	return &specs.LinuxResources{
		Memory: &specs.LinuxMemory{Limit: ptr(int64(64 << 20))},
		CPU:    &specs.LinuxCPU{Shares: ptr(uint64(512))},
		Pids:   &specs.LinuxPids{Limit: ptr(int64(100))},
		Devices: []specs.LinuxDeviceCgroup{
			{Allow: false, Access: "rwm"},
			rule("c", 1, 3, "rwm"), rule("c", 1, 8, "rwm"), rule("c", 1, 7, "rwm"), rule("c", 5, 0, "rwm"),
			rule("c", 1, 5, "rwm"), rule("c", 1, 9, "rwm"), rule("c", 5, 1, "rwm"), rule("c", 136, anyNumber, "rwm"), rule("c", 5, 2, "rwm"),
		},
	}
}

// benchBase is a parent that exists, as the namespace's does.
func benchBase(b *testing.B, info Info) string {
	top, err := Own(Config{Info: info, Path: groupPath(b, info)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := top.Remove(); err != nil {
			b.Error(err)
		}
	})
	return top.Path() + "/web"
}

// BenchmarkCreate compares what a container's start and end cost here with the
// same system calls in a loop, which is the least that it can cost, and with
// runc's library. The three take turns, so that a noisy neighbour hits all.
func BenchmarkCreate(b *testing.B) {
	info := hostInfo(b)
	path, r := benchBase(b, info)+"/ns/web", benchResources()
	g := create(b, info, path, r) // for the parent, which stays
	if err := g.Remove(); err != nil {
		b.Fatal(err)
	}
	least := leastCreate(b, g)
	ways := []struct {
		name string
		do   func() error
		took []time.Duration
	}{
		{name: "least", do: least},
		{name: "foundry", do: func() error {
			g, err := Create(Config{Info: info, Path: path, Resources: r})
			if err != nil {
				return err
			}
			return g.Remove()
		}},
		{name: "runc", do: func() error {
			g, err := runcCreate(info, path, r)
			if err != nil {
				return err
			}
			return g.Remove()
		}},
	}
	for b.Loop() {
		for n := range ways {
			start := time.Now()
			if err := ways[n].do(); err != nil {
				b.Fatal(err)
			}
			ways[n].took = append(ways[n].took, time.Since(start))
		}
	}
	median := map[string]float64{}
	for _, w := range ways {
		slices.Sort(w.took)
		median[w.name] = float64(w.took[len(w.took)/2])
		b.ReportMetric(median[w.name]/1e3, w.name+"-us")
	}
	b.ReportMetric(median["foundry"]/median["least"], "x-least")
	b.ReportMetric(median["runc"]/median["foundry"], "runc/foundry")
	b.ReportMetric(0, "ns/op")
}

// leastCreate writes what Create writes, without looking at anything.
func leastCreate(b *testing.B, g *Group) func() error {
	limits, err := settings(g.info.Unified, benchResources())
	if err != nil {
		b.Fatal(err)
	}
	rules, err := rulesOf(benchResources().Devices)
	if err != nil {
		b.Fatal(err)
	}
	if n := g.info.find("cpuset"); n >= 0 && !g.info.Unified {
		for _, f := range []string{"cpuset.cpus", "cpuset.mems"} {
			text, err := readFile(g.info.Hierarchies[n].Mountpoint, f)
			if err != nil {
				b.Fatal(err)
			}
			limits = append(limits, setting{controller: "cpuset", file: f, value: strings.TrimSpace(text)})
		}
	}
	return func() error {
		for _, d := range g.all() {
			if err := unix.Mkdir(d, 0o755); err != nil {
				return err
			}
		}
		for _, s := range limits {
			if err := writeFile(g.dir(s.controller), s.file, s.value); err != nil {
				return err
			}
		}
		if err := g.firstFilter(rules); err != nil {
			return err
		}
		for _, d := range g.all() {
			if err := unix.Rmdir(d); err != nil {
				return err
			}
		}
		return nil
	}
}

func BenchmarkStats(b *testing.B) {
	info := hostInfo(b)
	g := create(b, info, benchBase(b, info), nil)
	for b.Loop() {
		if _, err := g.Stats(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAttach measures how long the first entry into a group takes after
// the host was quiet for 50 ms: by the process itself through the tasks file,
// and by another through cgroup.procs, as runc and the C floor do.
func BenchmarkAttach(b *testing.B) {
	info := hostInfo(b)
	if info.Unified {
		b.Skip("cgroup v2 is entered by CLONE_INTO_CGROUP")
	}
	g := create(b, info, benchBase(b, info), nil)
	dir := g.dirs[0]
	b.Run("tasks-self", func(b *testing.B) {
		fd, err := openFile(dir+"/tasks", unix.O_WRONLY)
		if err != nil {
			b.Fatal(err)
		}
		root, err := openFile(info.Hierarchies[0].Mountpoint+"/tasks", unix.O_WRONLY)
		if err != nil {
			b.Fatal(err)
		}
		defer unix.Close(fd)
		defer unix.Close(root)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		quietly(b, func() error { return writeFD(fd, dir, "0") }, func() error { return writeFD(root, dir, "0") })
	})
	b.Run("procs-other", func(b *testing.B) {
		cmd := exec.Command("/bin/sleep", "1000")
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
		pid := strconv.Itoa(cmd.Process.Pid)
		quietly(b, func() error { return writeFile(dir, "cgroup.procs", pid) },
			func() error { return writeFile(info.Hierarchies[0].Mountpoint, "cgroup.procs", pid) })
	})
}

// quietly reports the median of do after 50 ms of nothing; back undoes it.
func quietly(b *testing.B, do, back func() error) {
	var took []time.Duration
	for range 21 {
		time.Sleep(50 * time.Millisecond)
		start := time.Now()
		if err := do(); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
		if err := back(); err != nil {
			b.Fatal(err)
		}
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "us/first-attach")
	b.ReportMetric(0, "ns/op")
}
