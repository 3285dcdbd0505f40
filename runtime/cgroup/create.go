// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// NotEmptyError is returned when a group that is to be made exists and
// somebody is in it. Sharing it would let two containers kill each other.
type NotEmptyError struct {
	Path string
	Pids int
}

func (e *NotEmptyError) Error() string {
	return fmt.Sprintf("cgroup %s is not empty: %d processes are in it (stop them, or set another cgroupsPath)", e.Path, e.Pids)
}

// Create makes the group in every hierarchy and limits it, before anybody is
// in it. A group of that name that nobody is in is replaced. After an error
// nothing is left.
func Create(c Config) (*Group, error) { return build(c, false) }

// build is Create, or Own when the group may be shared.
func build(c Config, own bool) (*Group, error) {
	g, err := Open(c.Info, c.Path)
	if err != nil {
		return nil, err
	}
	if err := g.build(c, own); err != nil {
		return nil, fmt.Errorf("create cgroup %s: %w", g.path, err)
	}
	return g, nil
}

func (g *Group) build(c Config, own bool) error {
	limits, err := settings(g.info.Unified, c.Resources)
	if err != nil {
		return err
	}
	var rules ruleset
	if !own {
		if err := checkLeast(c.Resources); err != nil {
			return err
		}
		if c.Resources == nil {
			rules, err = rulesOf(nil)
		} else {
			rules, err = rulesOf(c.Resources.Devices)
		}
		if err != nil {
			return err
		}
	}
	m := maker{g: g, limits: limits, shared: own, filter: !own}
	if g.unit != (unit{}) {
		return m.scope(c, rules)
	}
	if err := m.run(rules); err != nil {
		return errors.Join(err, m.undo())
	}
	return nil
}

// maker makes the directories of one group.
type maker struct {
	g      *Group
	limits []setting
	shared bool     // processes may be in the group already
	filter bool     // devices
	made   []string // in the order of making, for undo
	reused bool     // a directory was there and could not be replaced
}

func (m *maker) run(rules ruleset) error {
	for _, dir := range m.g.all() {
		if err := m.directory(dir); err != nil {
			return err
		}
	}
	_, err := m.g.apply(m.limits)
	if m.g.info.Unified && errors.Is(err, fs.ErrNotExist) {
		// Somebody else is enabling controllers in a parent: the kernel lists
		// them before it makes their files. Enabling them waits for that.
		if err = m.enableAll(); err == nil {
			_, err = m.g.apply(m.limits)
		}
	}
	if err != nil || !m.filter {
		return err
	}
	if m.reused {
		return m.g.filter(rules)
	}
	return m.g.firstFilter(rules)
}

// undo removes what was made, the last first. A directory that others filled
// meanwhile is not ours any more.
func (m *maker) undo() error {
	var errs []error
	for _, dir := range slices.Backward(m.made) {
		switch err := unix.Rmdir(dir); err {
		case nil, unix.ENOENT, unix.EBUSY, unix.ENOTEMPTY:
		default:
			errs = append(errs, fmt.Errorf("remove %s: %w", dir, err))
		}
	}
	return errors.Join(errs...)
}

// directory makes one directory of the group and prepares it for members.
func (m *maker) directory(dir string) error {
	for range 3 { // another Create or Remove may be at work on the same parents
		err := unix.Mkdir(dir, 0o755)
		switch err {
		case nil:
			m.made = append(m.made, dir)
			return m.prepare(dir)
		case unix.ENOENT:
			err = m.parents(path.Dir(dir))
		case unix.EEXIST:
			var done bool
			if done, err = m.takeOver(dir); done {
				return err
			}
		default:
			err = fmt.Errorf("mkdir %s: %w", dir, err)
		}
		if err != nil {
			return err
		}
	}
	return fmt.Errorf("mkdir %s: others make and remove it at the same time", dir)
}

// takeOver decides what to do with a directory that is there. An empty one is
// removed and made again: limits, counters and a kill that were left in it
// would be the new container's. (A v2 group that cgroup.kill was written to
// kills whatever is cloned into it later, on some kernels.)
func (m *maker) takeOver(dir string) (done bool, err error) {
	pids, err := pidsBelow(dir)
	if err != nil {
		return true, fmt.Errorf("look into %s: %w", dir, err)
	}
	switch {
	case m.shared:
		return true, m.prepare(dir)
	case len(pids) > 0:
		return true, &NotEmptyError{dir, len(pids)}
	}
	switch err := unix.Rmdir(dir); err {
	case nil, unix.ENOENT:
		return false, nil
	default: // it has groups below it: not ours to remove
		m.reused = true
		return true, m.prepare(dir)
	}
}

// parents makes what is missing above a group.
func (m *maker) parents(dir string) error {
	err := unix.Mkdir(dir, 0o755)
	if err == unix.ENOENT && strings.Count(dir, "/") > 1 {
		if err := m.parents(path.Dir(dir)); err != nil {
			return err
		}
		err = unix.Mkdir(dir, 0o755)
	}
	switch err {
	case nil:
		m.made = append(m.made, dir)
		if top := m.cpusets(); top != "" && strings.HasPrefix(dir, top+"/") {
			// The kernel then fills the cpusets of the containers below by
			// itself, which is cheaper than two writes. Failing costs only time.
			_ = writeFile(dir, "cgroup.clone_children", "1")
		}
		return m.cpuset(dir, nil)
	case unix.EEXIST:
		return nil
	}
	return fmt.Errorf("mkdir %s: %w", dir, err)
}

// prepare does what must be done before a process can enter.
func (m *maker) prepare(dir string) error {
	if m.g.info.Unified {
		return m.enable()
	}
	return m.cpuset(dir, m.limits)
}

// cpusets is where the v1 cpuset hierarchy is mounted, or empty.
func (m *maker) cpusets() string {
	if n := m.g.info.find("cpuset"); n >= 0 && !m.g.info.Unified {
		return m.g.info.Hierarchies[n].Mountpoint
	}
	return ""
}

// cpuset gives a v1 cpuset group the processors and memory nodes of its
// parent where limits do not: it starts without any, and then nobody can
// enter.
func (m *maker) cpuset(dir string, limits []setting) error {
	top := m.cpusets()
	if top == "" || !strings.HasPrefix(dir, top+"/") {
		return nil
	}
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		from := dir
		if slices.ContainsFunc(limits, func(s setting) bool { return s.file == file }) {
			from = path.Dir(dir) // the limit comes later and must be within the parent's
		}
		if _, err := inherit(from, file, top); err != nil {
			return fmt.Errorf("initialise %s/%s: %w", from, file, err)
		}
	}
	return nil
}

// inherit reads a cpuset file of dir, filling it from above when it is empty,
// also in parents that somebody else left so.
func inherit(dir, file, top string) (string, error) {
	value, err := readFile(dir, file)
	value = strings.TrimSpace(value)
	if err != nil || value != "" || dir == top {
		return value, err
	}
	if value, err = inherit(path.Dir(dir), file, top); err != nil {
		return "", err
	}
	return value, writeFile(dir, file, value)
}

// enable makes every controller of the root available in the v2 group, by
// enabling it in all ancestors that have it. It cannot be done below an
// ancestor that has processes: then setting the limit fails and says so.
func (m *maker) enable() error {
	h := m.g.info.Hierarchies[0]
	text, err := readFile(m.g.v2, "cgroup.controllers")
	if err != nil {
		return err
	}
	if len(strings.Fields(text)) >= len(h.Controllers) {
		return nil
	}
	return m.enableAll()
}

func (m *maker) enableAll() error {
	h := m.g.info.Hierarchies[0]
	all := "+" + strings.Join(h.Controllers, " +")
	for _, above := range ancestors(m.g.path) {
		if writeFile(h.Mountpoint+above, "cgroup.subtree_control", all) == nil {
			continue
		}
		for _, c := range h.Controllers { // one that is refused has refused them all
			_ = writeFile(h.Mountpoint+above, "cgroup.subtree_control", "+"+c)
		}
	}
	return m.g.checkType(m.limits)
}

// ancestors of "/a/b/c" are "", "/a" and "/a/b".
func ancestors(p string) []string {
	list := []string{""}
	for n := 1; n < len(p); n++ {
		if p[n] == '/' {
			list = append(list, p[:n])
		}
	}
	return list
}

// checkType looks at a v2 group that lacks controllers. Below a threaded one it
// must become threaded itself before a process can enter, and then only
// threaded controllers work.
func (g *Group) checkType(limits []setting) error {
	text, err := readFile(g.v2, "cgroup.type")
	kind := strings.TrimSpace(text)
	if err != nil || kind == "domain" {
		return err
	}
	for _, s := range limits {
		if slices.Contains([]string{"memory", "io", "hugetlb"}, s.controller) {
			return fmt.Errorf("set %s: the group is %q because a group above it is threaded", s, kind)
		}
	}
	if kind == "domain invalid" {
		return writeFile(g.v2, "cgroup.type", "threaded")
	}
	return nil
}
