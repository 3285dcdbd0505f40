// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"bufio"
	"os"
	"strconv"
	"strings"

	"foundry/shim/view"
)

// owner tells which of our descriptors are there for a container: those on its
// journal and its clients' fifos, pidfds of its processes, and the other ends
// of the pipes and terminals that they have for stdio. What cannot be told by what it
// is open on (eventfds of v1's OOM notice, say) is not found.
type owner struct {
	pids  map[int]bool
	paths map[string]bool
	dirs  []string
}

func newOwner(procs []view.Process, dirs ...string) owner {
	o := owner{pids: map[int]bool{}, paths: map[string]bool{}, dirs: dirs}
	for _, p := range procs {
		for _, url := range []string{p.Stdin, p.Stdout, p.Stderr} {
			if path := strings.TrimPrefix(url, "file://"); strings.HasPrefix(path, "/") {
				o.paths[path] = true
			}
		}
		if p.Pid == 0 || p.Exit != nil {
			continue
		}
		o.pids[p.Pid] = true
		for _, fd := range []string{"0", "1", "2"} {
			if target, err := os.Readlink("/proc/" + strconv.Itoa(p.Pid) + "/fd/" + fd); err == nil && strings.HasPrefix(target, "pipe:") {
				o.paths[target] = true
			}
		}
	}
	return o
}

// descriptors lists those of ours that belong to o.
func descriptors(o owner) map[string]string {
	const dir = "/proc/self/fd/"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	found := map[string]string{}
	for _, e := range entries {
		target, err := os.Readlink(dir + e.Name())
		if err != nil {
			continue // it was the one that read the directory
		}
		if target == "anon_inode:[pidfd]" {
			if pid := pidOf(e.Name()); o.pids[pid] {
				found[e.Name()] = "pidfd of " + strconv.Itoa(pid)
			}
		} else if o.has(target) {
			found[e.Name()] = target
		}
	}
	return found
}

func (o owner) has(target string) bool {
	if o.paths[target] {
		return true
	}
	for _, dir := range o.dirs {
		if dir != "" && strings.HasPrefix(target, dir+"/") {
			return true
		}
	}
	return false
}

// pidOf is the process of a pidfd; 0 when it is gone.
func pidOf(fd string) int {
	f, err := os.Open("/proc/self/fdinfo/" + fd)
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), "Pid:"); ok {
			pid, _ := strconv.Atoi(strings.TrimSpace(value))
			return max(0, pid)
		}
	}
	return 0
}
