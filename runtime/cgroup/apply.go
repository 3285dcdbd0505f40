// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// apply writes settings and returns those that it wrote. Some limit each other
// (memory and memory+swap, quota and period and burst, real-time runtime and
// period) and which must come first depends on what is in force: what the
// kernel calls invalid is tried again after the rest, for as long as that gets
// anything through.
func (g *Group) apply(pending []setting) (done []setting, err error) {
	for len(pending) > 0 {
		var again []setting
		var first error
		for _, s := range pending {
			err := g.set(s)
			switch {
			case err == nil:
				done = append(done, s)
			case !errors.Is(err, unix.EINVAL):
				return done, err
			default:
				again = append(again, s)
				first = cmp.Or(first, err)
			}
		}
		if len(again) == len(pending) {
			return done, first
		}
		pending = again
	}
	return done, nil
}

// restore brings back what was in force before done, the last first. It goes
// on after an error: the less remains of a failed update the better.
func (g *Group) restore(done []setting, old map[string]setting) error {
	var errs []error
	for _, s := range slices.Backward(done) {
		before, ok := old[s.String()]
		if !ok {
			continue
		}
		if _, err := g.apply([]setting{before}); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// set writes one setting, saying in its error what would have to be different.
func (g *Group) set(s setting) error {
	dir := g.dir(s.controller)
	if dir == "" {
		return fmt.Errorf("set %s: no %s controller is mounted as cgroup v1 on this host (mount it, or leave linux.resources.%s out)",
			s, s.controller, fieldOf(s.controller))
	}
	if strings.HasPrefix(s.value, keepQuota+" ") {
		old, err := readFile(dir, s.file)
		if err != nil {
			return fmt.Errorf("set %s: %w", s, err)
		}
		quota, _, _ := strings.Cut(old, " ")
		s.value = quota + strings.TrimPrefix(s.value, keepQuota)
	}
	err := writeFile(dir, s.file, s.value)
	absent := errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) && !exists(dir+"/"+s.file)
	if absent && s.alt[0] != "" {
		s.file, s.value, s.alt = s.alt[0], s.alt[1], [2]string{}
		return g.set(s)
	}
	switch {
	case err == nil, absent && s.optional:
		return nil
	case absent && !exists(dir):
		return fmt.Errorf("set %s: cgroup %s is gone: %w", s, g.path, err)
	case absent && g.info.Unified && !g.offers(s.controller):
		return fmt.Errorf("set %s: controller %s is not enabled for %s (an ancestor has processes or does not have it): %w", s, s.controller, g.path, err)
	case absent:
		return fmt.Errorf("set %s: this kernel has no such file: %w%s", s, err, lacking(s.file))
	case s.file == "memory.use_hierarchy":
		return fmt.Errorf("set %s: %w (since Linux 5.11 a limit is always one for the groups below too)", s, err)
	case strings.HasPrefix(s.file, "cpu.rt_") && errors.Is(err, unix.EINVAL):
		return fmt.Errorf("set %s: %w (the groups above need real-time bandwidth first: theirs is 0 until somebody sets it)", s, err)
	case errors.Is(err, unix.EBUSY) && s.controller == "memory":
		usage, _ := readFile(dir, "memory.usage_in_bytes")
		return fmt.Errorf("set %s: %s bytes are in use and cannot be reclaimed: %w", s, strings.TrimSpace(usage), err)
	}
	return fmt.Errorf("set %s: %w", s, err)
}

// fieldOf is the part of linux.resources that a controller serves.
func fieldOf(controller string) string {
	switch controller {
	case "cpuset":
		return "cpu.cpus and cpu.mems"
	case "blkio", "io":
		return "blockIO"
	case "hugetlb":
		return "hugepageLimits"
	case "net_cls":
		return "network.classID"
	case "net_prio":
		return "network.priorities"
	}
	return controller
}

// lacking says what a kernel without a file was built without.
func lacking(file string) string {
	option := ""
	switch {
	case strings.HasPrefix(file, "cpu.rt_"):
		option = "CONFIG_RT_GROUP_SCHED"
	case strings.Contains(file, "leaf_weight"):
		return " (leaf weights went with the CFQ scheduler in Linux 5.0: leave leafWeight out)"
	case strings.Contains(file, "weight") && !strings.HasPrefix(file, "cpu"):
		return " (weights need the BFQ or iocost scheduler: CONFIG_BFQ_GROUP_IOSCHED)"
	case strings.HasPrefix(file, "memory.memsw."), strings.HasPrefix(file, "memory.swap."):
		option = "CONFIG_SWAP, or booted with swapaccount=0"
	case strings.HasPrefix(file, "hugetlb."):
		return " (the page sizes are those in /sys/kernel/mm/hugepages)"
	default:
		return ""
	}
	return " (built without " + option + ")"
}

func (g *Group) offers(controller string) bool {
	text, err := readFile(g.v2, "cgroup.controllers")
	return err != nil || controller == "cgroup" || slices.Contains(strings.Fields(text), controller)
}

func exists(path string) bool { return unix.Access(path, unix.F_OK) == nil }

// Update changes limits. Either all of them are in force afterwards, or an
// error is returned and those from before are. Resources without device rules
// leave the rules alone.
func (g *Group) Update(r *specs.LinuxResources) error {
	if err := g.update(r); err != nil {
		return fmt.Errorf("update cgroup %s: %w", g.path, err)
	}
	return nil
}

func (g *Group) update(r *specs.LinuxResources) error {
	list, err := settings(g.info.Unified, r)
	if err != nil || r == nil {
		return err
	}
	var rules ruleset
	if len(r.Devices) > 0 {
		if rules, err = rulesOf(r.Devices); err != nil {
			return err
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.checkMemory(r.Memory); err != nil {
		return err
	}
	if g.unit != (unit{}) {
		list = g.wholeQuota(list)
	}
	old := g.inForce(list)
	done, err := g.apply(list)
	if err == nil && g.unit != (unit{}) {
		err = g.tellSystemd(list, r.Devices, rules)
	}
	if err == nil && len(r.Devices) > 0 {
		err = g.filter(rules)
	}
	if err == nil {
		return nil
	}
	if undo := g.restore(done, old); undo != nil {
		return errors.Join(err, fmt.Errorf("restore the old limits: %w", undo))
	}
	return err
}

// checkMemory refuses, when the caller asks for it, a limit that v2 would
// accept and then enforce by killing.
func (g *Group) checkMemory(m *specs.LinuxMemory) error {
	if !g.info.Unified || m == nil || m.CheckBeforeUpdate == nil || !*m.CheckBeforeUpdate {
		return nil
	}
	text, err := readFile(g.v2, "memory.current")
	if err != nil {
		return nil // without the controller, setting the limit says so
	}
	usage, _ := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if limit := value(m.Limit); limit > 0 && limit <= usage {
		return &LimitError{"memory.limit", fmt.Sprintf("%d is not above the %d bytes in use", limit, usage)}
	}
	if sum := value(m.Swap); sum > 0 && sum <= usage {
		return &LimitError{"memory.swap", fmt.Sprintf("%d is not above the %d bytes in use", sum, usage)}
	}
	return nil
}

// inForce reads, for each of list, the setting that brings back what it is
// about to replace. What cannot be read cannot be restored and is left out.
func (g *Group) inForce(list []setting) map[string]setting {
	old := make(map[string]setting, len(list))
	for _, s := range list {
		key, dir := s.String(), g.dir(s.controller)
		if dir == "" {
			continue
		}
		text, err := readFile(dir, s.file)
		if err != nil && s.alt[0] != "" {
			s.file, s.alt = s.alt[0], [2]string{}
			text, err = readFile(dir, s.file)
		}
		if err != nil {
			continue
		}
		if s.value = restorer(s, text); s.value != "" {
			old[key] = s
		}
	}
	return old
}

// restorer finds what to write so that the file reads as text again.
func restorer(s setting, text string) string {
	if s.key != "" {
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, s.key+" ") {
				return strings.TrimSpace(line)
			}
		}
		return s.reset
	}
	line, _, _ := strings.Cut(text, "\n")
	switch {
	case s.file == "memory.oom_control":
		return strings.TrimPrefix(line, "oom_kill_disable ")
	case s.file == "cpu.weight" && line == "0":
		return "" // shown while cpu.idle is on, and not accepted back
	case (s.file == "cpuset.cpus" || s.file == "cpuset.mems") && line == "":
		return "\n" // an empty write would not reach the kernel
	}
	return line
}
