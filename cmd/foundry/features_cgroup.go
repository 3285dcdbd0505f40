// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// hierarchies are the mounted cgroups of the host.
type hierarchies struct {
	unified     string   // mount of v2, "" without
	controllers []string // of all
	v1          int
}

func readHierarchies(mounts string) hierarchies {
	var h hierarchies
	for line := range strings.Lines(mounts) {
		f := strings.Fields(line) // source target type options ...
		if len(f) < 4 {
			continue
		}
		switch f[2] {
		case "cgroup2":
			h.unified = f[1]
			text, _ := os.ReadFile(filepath.Join(f[1], "cgroup.controllers"))
			h.controllers = append(h.controllers, strings.Fields(string(text))...)
		case "cgroup":
			h.v1++
			h.controllers = append(h.controllers, strings.Split(f[3], ",")...)
		}
	}
	return h
}

func hostHierarchies() hierarchies {
	mounts, _ := os.ReadFile("/proc/mounts")
	return readHierarchies(string(mounts))
}

func (h hierarchies) mode() (string, bool) {
	switch {
	case h.v1 > 0 && h.unified != "":
		return "hybrid: v1, and v2 at " + h.unified, true
	case h.v1 > 0:
		return "v1", true
	case h.unified != "":
		return "v2 at " + h.unified, true
	}
	return "none is mounted", false
}

// has looks for a controller by any of its names.
func (h hierarchies) has(names ...string) func() (string, bool) {
	return func() (string, bool) {
		for _, n := range names {
			if slices.Contains(h.controllers, n) {
				return n, true
			}
		}
		return "not mounted", false
	}
}

func cgroupFeatures() []feature {
	h := hostHierarchies()
	list := []feature{
		{"cgroups", h.mode, "no container can be held together", "mount cgroup2 on /sys/fs/cgroup", true},
		{"cgroup v2 alone", func() (string, bool) { found, _ := h.mode(); return found, h.v1 == 0 && h.unified != "" },
			"no pressure of single containers, no memory.high, ten groups to make for each container instead of one",
			"boot with systemd.unified_cgroup_hierarchy=1", false},
	}
	for _, c := range []struct{ name, effect string }{
		{"cpu", "limits of processor time fail at create"},
		{"memory", "limits of memory fail at create, and OOM kills are not told"},
		{"pids", "limits of processes fail at create"},
		{"cpuset", "pinning to processors fails at create"},
		{"io", "limits of block devices fail at create"},
		{"hugetlb", "limits of huge pages fail at create"},
	} {
		names := []string{c.name}
		if c.name == "io" {
			names = append(names, "blkio")
		}
		list = append(list, feature{"controller " + c.name, h.has(names...), c.effect, "enable it when booting", false})
	}
	return append(list,
		feature{"clone into cgroup", h.unifiedFile("cgroup.procs", 5, 7), "processes enter their cgroup by being moved", "moved by the stage, before anything else", false},
		feature{"cgroup.kill", h.unifiedFile("cgroup.kill", 5, 14), "the processes of a container are killed one by one", "frozen first, so that none escapes", false},
		feature{"cgroup freezer", h.freezer, "containers cannot be paused", "", false})
}

// unifiedFile is a feature of v2 since some kernel. A group below the root
// has the file that the root lacks.
func (h hierarchies) unifiedFile(file string, major, minor int) func() (string, bool) {
	return func() (string, bool) {
		if h.unified == "" {
			return "cgroup v1 has none", false
		}
		if found, _ := filepath.Glob(filepath.Join(h.unified, "*", file)); len(found) > 0 {
			return file, true
		}
		return fmt.Sprintf("Linux %d.%d has it", major, minor), atLeast(major, minor)
	}
}

func (h hierarchies) freezer() (string, bool) {
	if found, ok := h.has("freezer")(); ok {
		return found + " of v1", true
	}
	return h.unifiedFile("cgroup.freeze", 5, 2)()
}
