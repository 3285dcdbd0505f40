// SPDX-License-Identifier: Apache-2.0

package env

import (
	"cmp"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// RequireRoot skips a test that only root can run.
func RequireRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
}

// Unified says whether the host has cgroup v2 alone.
func Unified() bool {
	_, err := os.Stat("/sys/fs/cgroup/cgroup.controllers")
	return err == nil
}

// Tools is the directory of containerd, ctr and the runc shim that `make setup`
// built.
func Tools(t testing.TB) string {
	t.Helper()
	cache := os.Getenv("FOUNDRY_CACHE")
	if cache == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			t.Fatal(err)
		}
		cache = filepath.Join(home, ".cache/foundry")
	}
	dir := filepath.Join(cache, "tools/containerd-2.4.2")
	if _, err := os.Stat(filepath.Join(dir, "containerd")); err != nil {
		t.Fatalf("find containerd: %v (run make setup)", err)
	}
	return dir
}

// Module is the root of the source tree.
func Module(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
	}
	t.Fatal("find go.mod: the test does not run in the source tree")
	return ""
}

// built remembers, for a test binary, where it built the programs.
var built = sync.OnceValues(func() (string, error) {
	root, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", err
	}
	cmd := exec.Command("make", "--no-print-directory", "build")
	cmd.Dir = filepath.Dir(strings.TrimSpace(string(root)))
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), err
	}
	return filepath.Join(cmd.Dir, "bin"), nil
})

// Bin is the directory of the launcher and foundryd, built from the tree as it
// is now: a test of yesterday's binaries proves nothing.
func Bin(t testing.TB) string {
	t.Helper()
	if dir := os.Getenv("FOUNDRY_BIN"); dir != "" {
		return dir
	}
	dir, err := built()
	if err != nil {
		t.Fatalf("build Foundry: %v\n%s", err, dir)
	}
	return dir
}

// Runtime is the runtime under test.
func Runtime() string {
	return cmp.Or(os.Getenv("FOUNDRY_TEST_RUNTIME"), "io.containerd.foundry.v1")
}
