// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Config says which group to make. A nil Resources limits nothing but
// devices, which are always filtered.
type Config struct {
	Info      Info
	Path      string // cgroupsPath: "/namespace/id", or "slice:prefix:name" for a scope of systemd's
	Resources *specs.LinuxResources
	Hold      func() (Holder, error) // called for a scope alone, see scope.go
}

// Group is a handle on one group. Its methods may be called at the same time;
// only Update waits for another Update.
type Group struct {
	info Info
	path string
	dirs []string // one for each of info.Hierarchies
	v2   string   // directory in the v2 tree, also on a hybrid host; empty without
	unit unit     // of systemd's, when it is one
	hold hold     // of a unit that is being made
	last last     // of a unit, which may go at any time

	mu     sync.Mutex // one change of limits at a time
	device *ruleset   // what mu's last holder let pass; nil when not known
}

func newGroup(info Info, path string) *Group {
	g := &Group{info: info, path: path, dirs: make([]string, len(info.Hierarchies))}
	for n, h := range info.Hierarchies {
		g.dirs[n] = h.Mountpoint + path
	}
	switch {
	case info.Unified:
		g.v2 = g.dirs[0]
	case info.Hybrid != "":
		g.v2 = info.Hybrid + path
	}
	return g
}

// Open gives a handle on a group that was made earlier, or on what is left of
// it: it does not look whether there is anything.
func Open(info Info, path string) (*Group, error) {
	if isUnit(path) {
		u, err := parseUnit(path)
		if err != nil {
			return nil, err
		}
		g := newGroup(info, u.path())
		g.unit = u
		return g, nil
	}
	clean, err := cleanPath(path)
	if err != nil {
		return nil, err
	}
	return newGroup(info, clean), nil
}

// Path is the path below each mount point.
func (g *Group) Path() string { return g.path }

// Dirs are the group's directories in the order of Info.Hierarchies.
func (g *Group) Dirs() []string { return slices.Clone(g.dirs) }

// all lists every directory, the one beside v1 included.
func (g *Group) all() []string {
	if g.v2 != "" && !g.info.Unified {
		return append(slices.Clone(g.dirs), g.v2)
	}
	return g.dirs
}

// dir finds a controller's directory; on v2 it is always the same.
func (g *Group) dir(controller string) string {
	if g.info.Unified {
		return g.v2
	}
	if n := g.info.find(controller); n >= 0 {
		return g.dirs[n]
	}
	return ""
}

// JoinFiles opens what a process needs to enter the group by itself. On v1:
// the tasks file of each hierarchy, in the order of Info.Hierarchies, to which
// a single-threaded process writes "0". (tasks and "0" skip the kernel's
// thread group lock; cgroup.procs, or another's pid, wait for an RCU grace
// period when the lock was not used for a while.) On v2: the directory, for
// CLONE_INTO_CGROUP. The caller closes them.
func (g *Group) JoinFiles() ([]*os.File, error) {
	flags, suffix := unix.O_WRONLY, "/tasks"
	if g.info.Unified {
		flags, suffix = unix.O_RDONLY|unix.O_DIRECTORY, ""
	}
	files := make([]*os.File, 0, len(g.dirs))
	for _, d := range g.dirs {
		fd, err := openFile(d+suffix, flags)
		if err != nil {
			closeAll(files)
			return nil, fmt.Errorf("join cgroup %s: %w", g.path, err)
		}
		files = append(files, os.NewFile(uintptr(fd), d+suffix))
	}
	return files, nil
}

// Dir opens the group's directory in the v2 tree for CLONE_INTO_CGROUP, also
// on a hybrid host, where entering it any other way takes the thread group
// lock. It is nil on a host without v2.
func (g *Group) Dir() (*os.File, error) {
	if g.v2 == "" {
		return nil, nil
	}
	fd, err := openFile(g.v2, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, fmt.Errorf("open cgroup %s: %w", g.path, err)
	}
	return os.NewFile(uintptr(fd), g.v2), nil
}

// Add moves a process of any number of threads into the group.
func (g *Group) Add(pid int) error {
	for _, d := range g.all() {
		if err := writeFile(d, "cgroup.procs", strconv.Itoa(pid)); err != nil {
			return fmt.Errorf("move process %d into cgroup %s: %w", pid, g.path, err)
		}
	}
	return nil
}

// Pids lists the processes of the group and of all groups below it.
func (g *Group) Pids() ([]int, error) {
	pids, err := pidsBelow(g.members())
	if err != nil {
		return nil, fmt.Errorf("list processes of cgroup %s: %w", g.path, err)
	}
	return pids, nil
}

// members is the directory that is asked who is in the group. A container can
// nest groups in any hierarchy, but it never leaves its own devices or freezer
// group.
func (g *Group) members() string {
	for _, c := range []string{"freezer", "devices"} {
		if d := g.dir(c); d != "" {
			return d
		}
	}
	return g.dirs[0]
}

func pidsBelow(dir string) ([]int, error) {
	pids, err := pidsIn(dir)
	if isGone(err) {
		return nil, nil // removed meanwhile: nobody is in it
	}
	if err != nil {
		return nil, err
	}
	names, err := subdirs(dir)
	if err != nil && !isGone(err) {
		return nil, err
	}
	for _, n := range names {
		more, err := pidsBelow(dir + "/" + n)
		if err != nil {
			return nil, err
		}
		pids = append(pids, more...)
	}
	return pids, nil
}

// pidsIn reads one group. Members of a threaded group are listed by thread.
// A 0 stands for a process of another pid namespace, which has no number here.
func pidsIn(dir string) ([]int, error) {
	text, err := readFile(dir, "cgroup.procs")
	if errors.Is(err, unix.EOPNOTSUPP) {
		text, err = readFile(dir, "cgroup.threads")
	}
	if err != nil {
		return nil, err
	}
	var pids []int
	for f := range strings.FieldsSeq(text) {
		pid, err := strconv.Atoi(f)
		if err != nil {
			return nil, fmt.Errorf("read %s/cgroup.procs: %w", dir, err)
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
