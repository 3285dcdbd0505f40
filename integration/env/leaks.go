// SPDX-License-Identifier: Apache-2.0

package env

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Server is a running foundryd and its spawner, from the file in its instance.
type Server struct {
	Dir          string // the instance's directory
	Pid, Spawner int
	Address      string
}

// Servers lists the servers of this daemon that say they run. There should be
// one, however many containers.
func (d *Daemon) Servers() []Server {
	var out []Server
	for _, s := range ServersBelow(d.Dir + "/f") {
		if s.Pid > 1 && Alive(s.Pid) {
			out = append(out, s)
		}
	}
	return out
}

// ServersBelow lists the servers of the instances in a FOUNDRY_ROOT, whether
// they run or not.
func ServersBelow(root string) []Server {
	files, _ := filepath.Glob(root + "/*/server")
	var out []Server
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		s := Server{Dir: filepath.Dir(f)}
		for line := range strings.Lines(string(b)) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			switch key {
			case "pid":
				s.Pid, _ = strconv.Atoi(value)
			case "spawner":
				s.Spawner, _ = strconv.Atoi(value)
			case "address":
				s.Address = value
			}
		}
		out = append(out, s)
	}
	return out
}

// Pid is that of containerd; 0 when it does not run.
func (d *Daemon) Pid() int {
	if d.cmd == nil || d.cmd.Process == nil {
		return 0
	}
	return d.cmd.Process.Pid
}

// FDs counts the descriptors of a process.
func FDs(pid int) int {
	d, err := os.Open(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return 0
	}
	defer d.Close()
	names, _ := d.Readdirnames(-1)
	return len(names)
}

// Alive says whether a process runs. One that has ended and waits for a parent
// to take notice does not.
func Alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	after := b[bytes.LastIndexByte(b, ')')+1:]
	return len(after) > 1 && after[1] != 'Z' && after[1] != 'X'
}

// Children lists the child processes of a process.
func Children(pid int) []string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	return strings.Fields(string(b))
}

// Leaks describes what of this daemon's containers is still there: processes,
// mounts, cgroups, journals, bundles. A daemon without containers has none.
func (d *Daemon) Leaks() []string {
	var out []string
	for _, p := range d.processes() {
		if !p.shim {
			out = append(out, "process "+p.String())
		}
	}
	for _, m := range d.mounts() {
		out = append(out, "mount "+m)
	}
	for _, g := range d.cgroups() {
		out = append(out, "cgroup "+g)
	}
	// containerd gives a bundle a hidden name before it removes it. Killed in
	// between, it never looks at it again, which is not for us to mend.
	for _, pattern := range []string{"/f/*/c/*/*", "/state/io.containerd.runtime.v2.task/*/[^.]*"} {
		found, _ := filepath.Glob(d.Dir + pattern)
		for _, f := range found {
			journal, err := os.ReadFile(f + "/journal")
			if err == nil {
				f += " with " + string(journal)
			}
			out = append(out, "file "+f)
		}
	}
	sort.Strings(out)
	return out
}

// CheckLeaks fails the test unless all traces of containers vanish. Some go on
// their own a moment after the last call: a cgroup whose last task is still on
// its way out, an overlay that containerd unmounts after `delete`.
func (d *Daemon) CheckLeaks(t testing.TB) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second * Slowness())
	leaks := d.Leaks()
	for len(leaks) > 0 && time.Now().Before(deadline) {
		time.Sleep(20 * time.Millisecond)
		leaks = d.Leaks()
	}
	for _, l := range leaks {
		t.Errorf("left behind: %s", l)
	}
}

// process is one that belongs to a daemon.
type process struct {
	pid  int
	line string
	shim bool // a shim, foundryd or its spawner; not a container's
}

func (p process) String() string { return fmt.Sprintf("%d %s", p.pid, p.line) }

// processes finds all processes of this daemon: those that name its directory
// on their command line, and those whose root is one of its snapshots. (That a
// mount namespace merely contains our mounts says nothing: any namespace made
// while they exist has copies.)
func (d *Daemon) processes() []process {
	own, _ := filepath.Glob("/proc/[0-9]*")
	shims := map[int]bool{}
	for _, s := range d.Servers() {
		shims[s.Pid], shims[s.Spawner] = true, true
	}
	var out []process
	for _, dir := range own {
		pid, _ := strconv.Atoi(filepath.Base(dir))
		if pid == os.Getpid() || d.cmd != nil && d.cmd.Process != nil && pid == d.cmd.Process.Pid {
			continue
		}
		b, _ := os.ReadFile(dir + "/cmdline")
		line := strings.ReplaceAll(strings.TrimRight(string(b), "\x00"), "\x00", " ")
		hit := strings.Contains(line, d.Dir)
		if hit || d.isRoot(dir+"/mountinfo") {
			isShim := shims[pid] || strings.Contains(line, "containerd-shim-") || strings.HasPrefix(line, "foundry")
			out = append(out, process{pid: pid, line: line, shim: isShim})
		}
	}
	return out
}

// isRoot says whether the root mount of a mountinfo file is made of this
// daemon's snapshots.
func (d *Daemon) isRoot(mountinfo string) bool {
	b, _ := os.ReadFile(mountinfo)
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 4 && f[4] == "/" && strings.Contains(line, d.Dir+"/") {
			return true
		}
	}
	return false
}

// mounts lists what is mounted below the daemon's directory, innermost last.
func (d *Daemon) mounts() []string {
	b, _ := os.ReadFile("/proc/self/mountinfo")
	var out []string
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], d.Dir+"/") {
			out = append(out, f[4])
		}
	}
	return out
}

// cgroups lists the groups of the daemon's containers. ctr's default is
// /NAMESPACE/ID, and the namespace is this daemon's alone.
func (d *Daemon) cgroups() []string {
	var out []string
	for _, pattern := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} {
		found, _ := filepath.Glob(pattern + d.Namespace + "*/*")
		for _, f := range found {
			if fi, err := os.Stat(f); err == nil && fi.IsDir() {
				out = append(out, f)
			}
		}
	}
	return out
}

// ShimPids lists the processes of this daemon that serve its containers and are
// none: shims, foundryd, its spawner.
func (d *Daemon) ShimPids() []int {
	var pids []int
	for _, p := range d.processes() {
		if p.shim {
			pids = append(pids, p.pid)
		}
	}
	return pids
}
