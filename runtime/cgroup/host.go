// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
)

// ErrNoCgroups means that no cgroup file system is mounted.
var ErrNoCgroups = errors.New("no cgroup file system is mounted (mount cgroup2 on /sys/fs/cgroup)")

// Info is what the host's mounts say. It does not change while a server
// lives, and every group that is made from it shares its caches.
type Info struct {
	Unified     bool        // cgroup v2 alone; Hierarchies has one element then
	Hierarchies []Hierarchy // in mount order
	Hybrid      string      // mount point of a v2 tree beside v1 hierarchies, or empty
	programs    *programs   // device filters that were loaded already
	bus         *bus        // to systemd, should a path ask for it
}

// Hierarchy is one mounted tree.
type Hierarchy struct {
	Name        string   // last element of the mount point: "cpu,cpuacct", "systemd"
	Controllers []string // "cpu", "name=systemd"; on v2 what the root offers
	Mountpoint  string
}

// Host reads the mounts of the calling process.
func Host() (Info, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return Info{}, fmt.Errorf("read cgroup mounts: %w", err)
	}
	info := parseMounts(string(mounts))
	if len(info.Hierarchies) == 0 {
		return Info{}, ErrNoCgroups
	}
	if info.Unified {
		text, err := readFile(info.Hierarchies[0].Mountpoint, "cgroup.controllers")
		if err != nil {
			return Info{}, fmt.Errorf("read cgroup controllers: %w", err)
		}
		info.Hierarchies[0].Controllers = strings.Fields(text)
	}
	info.programs, info.bus = newPrograms(), &bus{}
	return info, nil
}

// parseMounts takes the first mount of each hierarchy. A host counts as v2
// when nothing but v2 is mounted.
func parseMounts(mountinfo string) Info {
	var info Info
	v2 := ""
	for line := range strings.Lines(mountinfo) {
		left, right, ok := strings.Cut(line, " - ")
		fields, fs := strings.Fields(left), strings.Fields(right)
		if !ok || len(fields) < 5 || len(fs) < 3 {
			continue
		}
		mountpoint := unescape(fields[4])
		switch fs[0] {
		case "cgroup2":
			if v2 == "" {
				v2 = mountpoint
			}
		case "cgroup":
			h := Hierarchy{path.Base(mountpoint), controllers(fs[2]), mountpoint}
			if len(h.Controllers) > 0 && !info.has(h.Controllers[0]) {
				info.Hierarchies = append(info.Hierarchies, h)
			}
		}
	}
	switch {
	case v2 != "" && len(info.Hierarchies) == 0:
		info.Unified = true
		info.Hierarchies = []Hierarchy{{Name: path.Base(v2), Mountpoint: v2}}
	default:
		info.Hybrid = v2
	}
	return info
}

// controllers picks the controllers out of a v1 mount's super block options.
func controllers(options string) []string {
	var found []string
	for _, o := range strings.Split(options, ",") {
		key, _, _ := strings.Cut(o, "=")
		switch key {
		case "rw", "ro", "xattr", "clone_children", "noprefix", "cpuset_v2_mode", "none", "release_agent", "favordynmods", "nofavordynmods", "seclabel":
		default:
			found = append(found, o)
		}
	}
	return found
}

// unescape undoes the kernel's octal escapes of blanks in mountinfo.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

func (i Info) has(controller string) bool { return i.find(controller) >= 0 }

// find gives the index of the hierarchy of a v1 controller, or -1.
func (i Info) find(controller string) int {
	for n, h := range i.Hierarchies {
		if slices.Contains(h.Controllers, controller) {
			return n
		}
	}
	return -1
}
