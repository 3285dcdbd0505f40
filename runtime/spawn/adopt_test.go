// SPDX-License-Identifier: Apache-2.0

package spawn

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"foundry/runtime/plan"

	"golang.org/x/sys/unix"
)

// playRestorer does as criu: it starts a sibling of itself and says its number.
func playRestorer() {
	cmd := exec.Command("/bin/busybox", "sh", "-c", "trap 'exit 7' TERM; while :; do busybox sleep 0.1; done")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_PARENT}
	if err := cmd.Start(); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(cmd.Process.Pid)
}

// sibling has a process made that is a child of the spawner which it does not know.
func (w *world) sibling() int {
	w.t.Helper()
	r, out, err := os.Pipe()
	must(w.t, err)
	defer r.Close()
	self, err := os.Executable()
	must(w.t, err)
	p := w.spawn(&plan.Plan{
		Files: []plan.File{{Kind: plan.FileStdout}},
		Steps: []plan.Step{
			{Op: plan.OpDup, A: 1},
			{Op: plan.OpExecHost, FD: -1, S: [4]string{self, "PATH=/bin\x00FOUNDRY_TEST_PART=sibling", self}},
		},
	}, out)
	must(w.t, out.Close())
	line, err := bufio.NewReader(r).ReadString('\n')
	must(w.t, err)
	w.reach(p, PointExec)
	w.exit(p)
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		w.t.Fatalf("restorer: %s", line)
	}
	return pid
}

// TestAdopt: what criu restores is a child like any other.
func TestAdopt(t *testing.T) {
	w := newWorld(t, 8)
	pid := w.sibling()
	p, err := w.client.Adopt(w.context(), 99, pid)
	must(t, err)
	defer p.Close()
	if p.Pid != pid || p.Pidfd == nil {
		t.Errorf("got pid %d, want %d; pidfd %v", p.Pid, pid, p.Pidfd)
	}
	w.reach(p, PointExec)
	if _, err := w.client.Adopt(w.context(), 100, pid); !errors.Is(err, unix.ECHILD) {
		t.Errorf("adopted twice: %v", err)
	}
	eventually(t, "its trap", func() bool { return catches(t, pid, syscall.SIGTERM) })
	must(t, p.Signal(syscall.SIGTERM))
	if e := w.exit(p); e.Status != 7 || e.Pid != pid {
		t.Errorf("exit: got %+v, want status 7 of %d", e, pid)
	}
}

// TestAdoptRefuses what is no child of the spawner, or is somebody's already.
func TestAdoptRefuses(t *testing.T) {
	w := newWorld(t, 8)
	for _, pid := range []int{os.Getpid(), w.cmd.Process.Pid, 4194304} {
		if _, err := w.client.Adopt(w.context(), 50, pid); !errors.Is(err, unix.ECHILD) {
			t.Errorf("process %d: got %v, want ECHILD", pid, err)
		}
	}
	p := w.spawn(hostPlan("sleep", "1000"))
	if _, err := w.client.Adopt(w.context(), p.Key, os.Getpid()); !errors.Is(err, unix.EEXIST) {
		t.Errorf("key in use: got %v, want EEXIST", err)
	}
	pid := w.sibling()
	must(t, unix.Kill(pid, unix.SIGKILL))
	eventually(t, "its reaping", func() bool { return unix.Kill(pid, 0) == unix.ESRCH })
	if _, err := w.client.Adopt(w.context(), 51, pid); !errors.Is(err, unix.ECHILD) {
		t.Errorf("dead process: got %v, want ECHILD", err)
	}
}

// catches says whether a process has a handler for sig.
func catches(t *testing.T, pid int, sig syscall.Signal) bool {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	must(t, err)
	for line := range strings.Lines(string(status)) {
		if mask, ok := strings.CutPrefix(line, "SigCgt:"); ok {
			bits, err := strconv.ParseUint(strings.TrimSpace(mask), 16, 64)
			must(t, err)
			return bits>>(sig-1)&1 == 1
		}
	}
	return false
}
