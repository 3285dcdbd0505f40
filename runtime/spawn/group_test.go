// SPDX-License-Identifier: Apache-2.0

package spawn

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"foundry/runtime/plan"

	"golang.org/x/sys/unix"
)

// makeGroup makes a cgroup below root, which must be a mounted hierarchy.
func makeGroup(t *testing.T, root string) string {
	t.Helper()
	requireRoot(t)
	if _, err := os.Stat(filepath.Join(root, "cgroup.procs")); err != nil {
		t.Skipf("SKIPPED: no hierarchy at %s", root)
	}
	dir, err := os.MkdirTemp(root, "foundry-test-")
	must(t, err)
	t.Cleanup(func() {
		eventually(t, "removal of "+dir, func() bool {
			err := os.Remove(dir)
			return err == nil || errors.Is(err, os.ErrNotExist)
		})
	})
	return dir
}

func groupsOf(t *testing.T, pid int) string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	must(t, err)
	return string(b)
}

func TestBornInCgroup2(t *testing.T) {
	w := newWorld(t, 16)
	root := "/sys/fs/cgroup/unified"
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		root = "/sys/fs/cgroup"
	}
	dir := makeGroup(t, root)
	f, err := os.Open(dir)
	must(t, err)
	defer f.Close()
	p, err := w.client.Spawn(w.context(), Request{Key: 1, Plan: hostPlan("sleep", "1000"), Cgroup: f})
	must(t, err)
	defer p.Close()
	if got := groupsOf(t, p.Pid); !strings.Contains(got, "0::/"+filepath.Base(dir)+"\n") {
		t.Errorf("groups of the process:\n%s", got)
	}
	must(t, p.Signal(syscall.SIGKILL))
	w.exit(p)
	notAGroup, err := os.Open("/tmp")
	must(t, err)
	defer notAGroup.Close()
	if _, err := w.client.Spawn(w.context(), Request{Key: 2, Plan: hostPlan("true"), Cgroup: notAGroup}); err == nil {
		t.Error("a directory that is no cgroup was taken")
	}
}

func TestJoinsCgroup1(t *testing.T) {
	w := newWorld(t, 16)
	dir := makeGroup(t, "/sys/fs/cgroup/pids")
	tasks, err := os.OpenFile(filepath.Join(dir, "tasks"), os.O_WRONLY, 0)
	must(t, err)
	defer tasks.Close()
	p := &plan.Plan{
		Files: []plan.File{{Kind: plan.FileCgroup1, Path: dir}},
		Steps: []plan.Step{{Op: plan.OpCgroup1}, execHost(busybox, "sleep", "1000")},
	}
	proc := w.spawn(p, tasks)
	w.reach(proc, PointExec)
	if got := groupsOf(t, proc.Pid); !strings.Contains(got, ":pids:/"+filepath.Base(dir)+"\n") {
		t.Errorf("groups of the process:\n%s", got)
	}
	must(t, proc.Signal(syscall.SIGKILL))
	w.exit(proc)
	// A descriptor that cannot be written to: the error names the group.
	proc = w.spawn(p, os.NewFile(uintptr(open(t, dir)), "directory"))
	if _, err := proc.Sync(w.context()); err == nil || err.Error() != "join cgroup "+dir+": bad file descriptor" {
		t.Errorf("got %v, want that joining %s failed", err, dir)
	}
	w.exit(proc)
}

func open(t *testing.T, path string) int {
	t.Helper()
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	must(t, err)
	return fd
}

// TestOOMScore: the spawner takes the lowest score that it may; what it found
// is its children's, unless their plan says otherwise.
func TestOOMScore(t *testing.T) {
	w := newWorldWith(t, 16, func(w *world) {
		w.cmd = exec.Command("/bin/sh", "-c", "echo 500 >/proc/self/oom_score_adj; exec /proc/self/fd/5 -attach 3 4")
		w.cmd.Stderr = os.Stderr
	})
	score := func(pid int) string {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid))
		must(t, err)
		return strings.TrimSpace(string(b))
	}
	if got := score(w.client.Pid()); got != "0" && got != "-1000" {
		t.Errorf("spawner: %s, want the lowest", got)
	}
	p := w.spawn(hostPlan("sleep", "1000"))
	w.reach(p, PointExec)
	if got := score(p.Pid); got != "500" {
		t.Errorf("child: %s, want 500 as found", got)
	}
	own := hostPlan("sleep", "1000")
	insert(own, plan.OpExecHost, plan.Step{Op: plan.OpOOMScore, FD: -1, A: 777})
	p = w.spawn(own)
	w.reach(p, PointExec)
	if got := score(p.Pid); got != "777" {
		t.Errorf("child with a score: %s, want 777", got)
	}
}

// TestSpawnerIgnoresSignals that a parent of containers must not die of, and
// hands none of that on.
func TestSpawnerIgnoresSignals(t *testing.T) {
	w := newWorld(t, 16)
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGPIPE} {
		must(t, w.cmd.Process.Signal(sig))
	}
	p := w.spawn(hostPlan("sleep", "1000"))
	w.reach(p, PointExec)
	must(t, p.Signal(syscall.SIGTERM))
	if e := w.exit(p); e.Signal != int(syscall.SIGTERM) {
		t.Errorf("child: %+v, want SIGTERM", e)
	}
}

// TestHelperFiles: descriptors 3 and up of a logger, and none beyond.
func TestHelperFiles(t *testing.T) {
	w := newWorld(t, 16)
	p := plan.NewHelper(plan.Helper{Path: busybox, Args: []string{"sh", "-c", "echo /proc/self/fd/*; echo three >&3; pwd; umask"}, Env: []string{"PATH=/bin"}, Dir: "/tmp", ExtraFiles: 3})
	r, out, err := os.Pipe()
	must(t, err)
	defer r.Close()
	files := filesOf(p, out, nil)
	files[3] = out
	proc := w.spawn(p, files...)
	out.Close()
	w.reach(proc, PointExec)
	w.exit(proc)
	b := make([]byte, 4096)
	n, _ := r.Read(b)
	want := "/proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 /proc/self/fd/3 /proc/self/fd/4 /proc/self/fd/5 /proc/self/fd/6\nthree\n/tmp\n0022\n"
	if got := string(b[:n]); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestMemory: what the spawner costs, alone and for a process that waits.
func TestMemory(t *testing.T) {
	w := newWorld(t, 64)
	pss := func(pid int) (kb int) {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		must(t, err)
		for _, line := range strings.Split(string(b), "\n") {
			if strings.HasPrefix(line, "Pss:") {
				_, err := fmt.Sscanf(line, "Pss: %d", &kb)
				must(t, err)
			}
		}
		return kb
	}
	alone := pss(w.client.Pid())
	var created []*Process
	for range 10 {
		p := w.spawn(newContainer(t, "true").plan(t))
		w.reach(p, PointReady)
		created = append(created, p)
	}
	total := pss(w.client.Pid())
	for _, p := range created {
		total += pss(p.Pid)
	}
	each := (total - alone) / len(created)
	t.Logf("PSS: spawner %d KiB, each created container %d KiB", alone, each)
	if alone > 500 || each > 200 {
		t.Errorf("PSS: spawner %d KiB, each created container %d KiB; want at most 500 and 200", alone, each)
	}
}
