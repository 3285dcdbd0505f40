// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"foundry/integration/env"
)

// floor is the compiled floor.c with a root to run in and the cgroups that a
// container would join.
type floor struct {
	program, rootfs string
	joins           []string
}

func newFloor(t testing.TB, dir, rootfs string) floor {
	t.Helper()
	f := floor{program: filepath.Join(dir, "floor"), rootfs: rootfs}
	out, err := exec.Command("cc", "-O2", "-o", f.program, "floor/floor.c").CombinedOutput()
	if err != nil {
		t.Fatalf("compile floor.c: %v\n%s", err, out)
	}
	if env.Unified() {
		f.joins = []string{"-2", f.group(t, "/sys/fs/cgroup")}
		return f
	}
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(mounts)) {
		fields := strings.Fields(line)
		if strings.Contains(line, " - cgroup ") && strings.HasPrefix(fields[4], "/sys/fs/cgroup/") {
			f.joins = append(f.joins, "-c", f.group(t, fields[4]))
		}
	}
	return f
}

// group makes a group of our own below a hierarchy's root; cpuset's children
// need to copy its processors and nodes before anybody can join them.
func (f floor) group(t testing.TB, root string) string {
	t.Helper()
	dir := filepath.Join(root, fmt.Sprintf("floor-%d", os.Getpid()))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(dir) })
	for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
		if b, err := os.ReadFile(filepath.Join(root, name)); err == nil {
			_ = os.WriteFile(filepath.Join(dir, name), b, 0)
		}
	}
	_ = os.WriteFile(filepath.Join(dir, "cgroup.clone_children"), []byte("1"), 0)
	return dir
}

// lives runs n lives with pauses between, and returns their median.
func (f floor) lives(t testing.TB, n int, gap time.Duration) time.Duration {
	t.Helper()
	args := append([]string{"-n", fmt.Sprint(n), "-g", fmt.Sprint(gap.Milliseconds())}, f.joins...)
	out, err := exec.Command(f.program, append(args, f.rootfs)...).CombinedOutput()
	if err != nil {
		t.Fatalf("floor: %v: %s", err, out)
	}
	var lives int
	var mean, p50 float64
	if _, err := fmt.Sscanf(string(out), "lives %d mean %f p50 %f", &lives, &mean, &p50); err != nil {
		t.Fatalf("floor says %q: %v", out, err)
	}
	return time.Duration(p50 * float64(time.Millisecond))
}
