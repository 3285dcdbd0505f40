// SPDX-License-Identifier: Apache-2.0

package env

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Footprint counts, by kind, what the servers of a daemon and their spawners
// hold, and what is on the host for their containers: descriptors, goroutines,
// processes, slots, mounts, cgroups, sockets, files.
type Footprint map[string]int

// Footprint takes the measure of all servers. Two of them are comparable when
// the same containers exist.
func (d *Daemon) Footprint(t testing.TB) Footprint {
	t.Helper()
	f := Footprint{}
	for _, s := range d.Servers() {
		f.add("server descriptor ", descriptors(s.Pid))
		f.add("spawner descriptor ", descriptors(s.Spawner))
		f.add("goroutine created by ", s.goroutines(t))
		f["child of spawner"] += len(Children(s.Spawner))
		f["child of server"] += len(Children(s.Pid))
		f["slot"] += s.slots(t)
	}
	f["process"] = len(d.processes())
	f["mount"] = len(d.mounts())
	f["cgroup"] = len(d.cgroups())
	f["unix socket"] = d.sockets()
	f["file of the instance"] = files(d.Dir + "/f")
	f["socket file"] = files(d.Dir + "/s")
	return f
}

func (f Footprint) add(prefix string, names []string) {
	for _, n := range names {
		f[prefix+n]++
	}
}

// Growth lists what is more than in before.
func (f Footprint) Growth(before Footprint) []string {
	var out []string
	for name, n := range f {
		if was := before[name]; n > was {
			out = append(out, fmt.Sprintf("%s: %d, was %d", name, n, was))
		}
	}
	sort.Strings(out)
	return out
}

// CheckFootprint fails the test unless everything shrinks back to what it was.
// What a call has set going (an event under way, a connection that containerd
// is about to close) gets its time.
func (d *Daemon) CheckFootprint(t testing.TB, before Footprint) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second * Slowness())
	growth := d.Footprint(t).Growth(before)
	for len(growth) > 0 && time.Now().Before(deadline) {
		time.Sleep(200 * time.Millisecond)
		growth = d.Footprint(t).Growth(before)
	}
	for _, g := range growth {
		t.Errorf("more than before: %s", g)
	}
}

var inode = regexp.MustCompile(`:\[\d+\]$`)

// descriptors names what a process has open: socket, pipe, anon_inode:[pidfd],
// a path.
func descriptors(pid int) []string {
	var out []string
	for _, path := range FDLinks(pid) {
		out = append(out, inode.ReplaceAllString(path, ""))
	}
	return out
}

// FDLinks maps the descriptors of a process to what they are open on. The null
// device is /dev/null whatever the mount that it was opened in.
func FDLinks(pid int) map[string]string {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, _ := os.ReadDir(dir)
	out := map[string]string{}
	for _, e := range entries {
		path, err := os.Readlink(filepath.Join(dir, e.Name()))
		var st syscall.Stat_t
		const null = 1<<8 | 3
		if err == nil && syscall.Stat(filepath.Join(dir, e.Name()), &st) == nil && st.Mode&syscall.S_IFMT == syscall.S_IFCHR && st.Rdev == null {
			path = "/dev/null"
		}
		if err == nil {
			out[e.Name()] = path
		}
	}
	return out
}

var creator = regexp.MustCompile(`created by ([^ \\]+)`)

// goroutines asks the server for its stacks, which it writes to its log, and
// returns who created them.
func (s Server) goroutines(t testing.TB) []string {
	t.Helper()
	const mark = "msg=goroutines stacks="
	before := strings.Count(s.Log(), mark)
	if err := syscall.Kill(s.Pid, syscall.SIGUSR1); err != nil {
		t.Fatalf("ask server %d for its goroutines: %v", s.Pid, err)
	}
	var text string
	Eventually(t, "goroutines of the server", func() bool {
		text = s.Log()
		return strings.Count(text, mark) != before && strings.HasSuffix(text, "\n")
	})
	text = text[strings.LastIndex(text, mark):]
	var out []string
	for _, m := range creator.FindAllStringSubmatch(text, -1) {
		out = append(out, m[1])
	}
	return out
}

// Log is what the server has logged since it last turned its log over.
func (s Server) Log() string {
	b, _ := os.ReadFile(s.Dir + "/log")
	return string(b)
}

// slots counts the used slots of the server's spawner; see
// runtime/spawn/c/wire.h.
func (s Server) slots(t testing.TB) int {
	t.Helper()
	const page, pidAt, highAt = 4096, 20, 16
	names, _ := filepath.Glob(s.Dir + "/slots-*")
	used := 0
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil || len(b) < page {
			t.Fatalf("read slots: %d bytes, %v", len(b), err)
		}
		if int(binary.LittleEndian.Uint32(b[pidAt:])) != s.Spawner {
			continue // of one that is gone
		}
		high := int(binary.LittleEndian.Uint32(b[highAt:]))
		for n := 1; n < high && (n+1)*page <= len(b); n++ {
			if binary.LittleEndian.Uint32(b[n*page:]) != 0 {
				used++
			}
		}
	}
	return used
}

// sockets counts the unix sockets that are bound below the daemon's directory,
// connections to them included.
func (d *Daemon) sockets() int {
	b, _ := os.ReadFile("/proc/net/unix")
	return strings.Count(string(b), " "+d.Dir+"/")
}

func files(dir string) int {
	n := 0
	_ = filepath.WalkDir(dir, func(_ string, _ fs.DirEntry, err error) error {
		if err == nil {
			n++
		}
		return nil
	})
	return n
}

// Stat returns the fields of /proc/PID/stat from the state on: state, parent,
// process group, session. None for a process that is gone.
func Stat(pid int) []string {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return nil
	}
	return strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
}
