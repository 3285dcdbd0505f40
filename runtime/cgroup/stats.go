// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Stats reads the group's counters: a *v1.Metrics or *v2.Metrics of
// github.com/containerd/cgroups/v3 as the host's mode, which is what containerd
// decodes. Init need not live; the group must exist. A controller that the
// host lacks leaves its part empty.
func (g *Group) Stats() (any, error) {
	r := &reader{group: g}
	var metrics any
	if g.info.Unified {
		metrics = r.metrics2()
	} else {
		metrics = r.metrics1()
	}
	if r.err == nil && !exists(g.members()) {
		if last := g.last.stats(); last != nil {
			return last, nil
		}
		r.err = os.ErrNotExist
	}
	if r.err != nil {
		return nil, fmt.Errorf("read statistics of cgroup %s: %w", g.path, r.err)
	}
	if g.unit != (unit{}) {
		g.last.keep(metrics)
	}
	return metrics, nil
}

// OOMKills counts the processes of the group and of those below it that were
// killed for want of memory, also when the limit was that of a group above.
// v1 counts in the group of the killed process alone, v2 in all above it too.
func (g *Group) OOMKills() (uint64, error) {
	dir := g.dir("memory")
	if dir == "" {
		return 0, nil
	}
	var n uint64
	var err error
	if g.info.Unified {
		n, err = readField(dir, "memory.events", "oom_kill")
	} else {
		n, err = oomKills1(dir)
	}
	if err != nil && !isGone(err) {
		return 0, fmt.Errorf("read oom kills of cgroup %s: %w", g.path, err)
	}
	if g.unit != (unit{}) && g.info.Unified && !exists(dir) {
		g.info.bus.kills.claim(g)
	}
	return g.last.keepKills(n), nil
}

func oomKills1(dir string) (uint64, error) {
	sum, err := readField(dir, "memory.oom_control", "oom_kill")
	if err != nil {
		return 0, err
	}
	names, err := subdirs(dir)
	for _, name := range names {
		n, err := oomKills1(dir + "/" + name)
		if err != nil && !isGone(err) {
			return 0, err
		}
		sum += n
	}
	return sum, err
}

func readField(dir, file, key string) (uint64, error) {
	text, err := readFile(dir, file)
	return field(text, key), err
}

// field finds "key value" in a file of such lines; absent is 0.
func field(text, key string) uint64 {
	for line := range strings.Lines(text) {
		if k, v, ok := strings.Cut(line, " "); ok && k == key {
			return parseCount(v)
		}
	}
	return 0
}

// fields parses a whole file of "key value" lines.
func fields(text string) map[string]uint64 {
	all := make(map[string]uint64, 64)
	for line := range strings.Lines(text) {
		if k, v, ok := strings.Cut(line, " "); ok {
			all[k] = parseCount(v)
		}
	}
	return all
}

// parseCount reads a number; "max" is the largest, and nothing is 0.
func parseCount(s string) uint64 {
	s = strings.TrimSpace(s)
	if s == "max" {
		return math.MaxUint64
	}
	n, _ := strconv.ParseUint(s, 10, 64)
	return n
}

// reader reads many files and keeps the first error that is not "absent":
// which files there are depends on the kernel and its configuration.
type reader struct {
	group *Group
	err   error
}

func (r *reader) text(controller, file string) string {
	dir := r.group.dir(controller)
	if dir == "" {
		return ""
	}
	return r.textIn(dir, file)
}

func (r *reader) textIn(dir, file string) string {
	text, err := readFile(dir, file)
	if err == nil {
		return text
	}
	// ENODEV: the group was removed with the file open. EOPNOTSUPP: pressure
	// files of a kernel that has PSI switched off, hybrid ones of root.
	if !isGone(err) && !errors.Is(err, unix.EOPNOTSUPP) && r.err == nil {
		r.err = err
	}
	return ""
}

func (r *reader) count(controller, file string) uint64 { return parseCount(r.text(controller, file)) }

func (r *reader) fields(controller, file string) map[string]uint64 {
	return fields(r.text(controller, file))
}

// unlimited is how containerd's metrics say that there is no limit on pids.
func noLimit(n uint64) uint64 {
	if n == math.MaxUint64 {
		return 0
	}
	return n
}

// pageSizes of the hugetlb files in dir: "2MB", "1GB".
func pageSizes(dir, suffix string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var sizes []string
	for _, e := range entries {
		size, ok := strings.CutPrefix(e.Name(), "hugetlb.")
		if size, ok2 := strings.CutSuffix(size, suffix); ok && ok2 && !strings.Contains(size, ".") {
			sizes = append(sizes, size)
		}
	}
	return sizes
}
