// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// A group that is a scope of systemd's is made in this order, so that its
// first process is born in it although systemd starts no scope without one:
//
//	hold                      a process of Config.Hold's, anywhere
//	StartTransientUnit        systemd makes the group and moves the holder in
//	files, device filter      as in any group
//	JoinFiles, Dir            init is cloned into the group
//	Settled                   the holder goes; init keeps the scope alive
//
// When the last process of the container ends, systemd removes the scope and
// its directory by itself. See docs/decisions/0007-systemd-scopes.md.

// Holder is a process that does nothing, for the time in which a scope has no
// other. Release ends it; it may be called once only.
type Holder struct {
	Pid     int
	Release func() error
}

// hold is the holder of a group and what its presence costs: one more process
// than the container may have.
type hold struct {
	mu      sync.Mutex // guards the holder
	release func() error
	pids    []setting
}

// end lets the holder go. Nobody there is success.
func (h *hold) end() error {
	h.mu.Lock()
	release := h.release
	h.release = nil
	h.mu.Unlock()
	if release == nil {
		return nil
	}
	if err := release(); err != nil {
		return fmt.Errorf("end the holder of a scope: %w", err)
	}
	return nil
}

// scope makes a group that is a unit of systemd's. What it fails to make goes.
func (m *maker) scope(c Config, rules ruleset) error {
	g := m.g
	m.shared = true // the holder is in it
	m.limits = g.wholeQuota(m.limits)
	holder, err := g.newHolder(c)
	if err != nil {
		return err
	}
	g.hold.release = holder.Release
	if err := g.startScope(holder.Pid, m.limits, rules); err != nil {
		return errors.Join(err, g.hold.end())
	}
	m.limits = g.withHolder(m.limits)
	if err := m.run(rules); err != nil {
		return errors.Join(err, g.stopScope(time.Now().Add(removeWait)), m.undo())
	}
	return nil
}

// newHolder starts a holder when everything else is right.
func (g *Group) newHolder(c Config) (Holder, error) {
	if err := g.info.bus.call(nothing); err != nil {
		return Holder{}, fmt.Errorf("cgroup path %q is for systemd: %w", c.Path, err)
	}
	if c.Hold == nil {
		return Holder{}, fmt.Errorf("cgroup path %q is for systemd: needs Config.Hold", c.Path)
	}
	for _, dir := range g.all() {
		pids, err := pidsBelow(dir)
		if err != nil {
			return Holder{}, err
		}
		if len(pids) > 0 {
			return Holder{}, &NotEmptyError{dir, len(pids)}
		}
	}
	holder, err := c.Hold()
	if err != nil {
		return Holder{}, fmt.Errorf("start a holder for %s: %w", g.unit.name, err)
	}
	return holder, nil
}

// startScope has systemd make the group's directories, with the holder in them.
func (g *Group) startScope(pid int, list []setting, rules ruleset) error {
	props, err := scopeProperties(g.unit, pid, list, g.info.bus.version())
	if err != nil {
		return err
	}
	if !g.info.Unified {
		props = append(props, deviceProperties(rules)...)
	}
	return g.info.bus.startUnit(g.unit.name, props)
}

// pidMax is the largest limit on processes that the kernel takes.
const pidMax = 1 << 22

// withHolder leaves room for the holder in the limit on processes.
func (g *Group) withHolder(list []setting) []setting {
	list = slices.Clone(list)
	for i, s := range list {
		if n, err := strconv.ParseInt(s.value, 10, 64); s.file == "pids.max" && err == nil && n < pidMax {
			g.hold.pids = append(g.hold.pids, s)
			list[i].value = strconv.FormatInt(n+1, 10)
		}
	}
	return list
}

// Settled must be called once a process of the container is in the group for
// good. It is nothing to a group that systemd has no part in.
func (g *Group) Settled() error {
	if g.unit == (unit{}) {
		return nil
	}
	if g.info.Unified {
		g.info.bus.kills.begin(g)
	}
	err := g.hold.end()
	g.mu.Lock()
	defer g.mu.Unlock()
	_, err2 := g.apply(g.hold.pids)
	g.hold.pids = nil
	_, err3 := g.Stats() // there is something to tell from now on
	for _, e := range []error{err2, err3} {
		if !isGone(e) { // with its last process
			err = errors.Join(err, e)
		}
	}
	if err != nil {
		return fmt.Errorf("settle cgroup %s: %w", g.path, err)
	}
	return nil
}

// stopScope ends the scope of a group that is empty, or will be in a moment.
func (g *Group) stopScope(deadline time.Time) error {
	if g.unit == (unit{}) {
		return nil
	}
	if err := g.hold.end(); err != nil {
		return err
	}
	// Stopping a scope kills what is in it, which is not for Remove to do.
	for delay := time.Millisecond; ; delay = min(2*delay, 20*time.Millisecond) {
		pids, err := g.Pids()
		if err != nil {
			return err
		}
		if len(pids) == 0 {
			break
		}
		if !time.Now().Before(deadline) {
			return fmt.Errorf("stop unit %s: processes in it: %v", g.unit.name, pids)
		}
		time.Sleep(delay)
	}
	if _, err := g.OOMKills(); err != nil { // the last time that it can be told
		return err
	}
	err := g.info.bus.stopUnit(g.unit.name)
	switch {
	case errors.Is(err, ErrNoSystemd):
		return nil // then it never made one
	case err == nil:
		g.info.bus.kills.end(g)
	}
	return err
}

// tellSystemd sets the properties for a list that is in force, and the list
// again: systemd has written all it knows of the same controllers.
func (g *Group) tellSystemd(list []setting, devices []specs.LinuxDeviceCgroup, rules ruleset) error {
	if err := g.info.bus.call(nothing); err != nil { // for its version
		return err
	}
	props, err := properties(list, g.info.bus.version())
	if err != nil {
		return err
	}
	if len(devices) > 0 && !g.info.Unified {
		props = append(props, deviceProperties(rules)...)
	}
	if len(props) == 0 {
		return nil
	}
	if err := g.info.bus.setProperties(g.unit.name, props); err != nil {
		return err
	}
	_, err = g.apply(list)
	return err
}

// wholeQuota completes and rounds a quota the way systemd will, or the file
// would change by itself with the next daemon-reload.
func (g *Group) wholeQuota(list []setting) []setting {
	list = slices.Clone(list)
	if g.info.Unified {
		for i, s := range list {
			if s.file == "cpu.max" {
				list[i].value = roundQuota(s.value, g.text("cpu", "cpu.max"))
			}
		}
		return list
	}
	quota := slices.IndexFunc(list, func(s setting) bool { return s.file == "cpu.cfs_quota_us" })
	if quota < 0 {
		return list
	}
	period := g.text("cpu", "cpu.cfs_period_us")
	for _, s := range list {
		if s.file == "cpu.cfs_period_us" {
			period = s.value
		}
	}
	list[quota].value, _, _ = strings.Cut(roundQuota(list[quota].value+" "+period, ""), " ")
	return list
}

// text is a file of the group, empty when it cannot be read.
func (g *Group) text(controller, file string) string {
	text, _ := readFile(g.dir(controller), file)
	return strings.TrimSpace(text)
}

// roundQuota takes "quota", "quota period" or "keep period".
func roundQuota(value, inForce string) string {
	quota, period, _ := strings.Cut(strings.TrimSpace(value), " ")
	oldQuota, oldPeriod, _ := strings.Cut(inForce, " ")
	if period == "" {
		period = oldPeriod
	}
	if period == "" {
		period = strconv.Itoa(defaultPeriod)
	}
	if quota == keepQuota {
		quota = oldQuota
	}
	if quota == "" {
		quota = "max"
	}
	q, err1 := strconv.ParseUint(quota, 10, 64)
	p, err2 := strconv.ParseUint(period, 10, 64)
	if err1 == nil && err2 == nil && p > 0 && q < 1<<40 {
		quota = strconv.FormatUint(perSecond(q, p)*p/1000000, 10)
	}
	return quota + " " + period
}
