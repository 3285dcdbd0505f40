// SPDX-License-Identifier: Apache-2.0

package env

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// RequireRoot skips a test that only root can run.
func RequireRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
}

// inside tells a test program that it is the one in namespaces of its own.
const inside = "FOUNDRY_TEST_INSIDE"

// InNamespaces is for TestMain: it runs the test program again, in fresh
// namespaces (CLONE_NEWNET...), with which all goes that tests make there. done
// is false in that program, and for who may not do so: there the tests are to
// be run.
func InNamespaces(flags uintptr) (code int, done bool) {
	if os.Geteuid() != 0 || os.Getenv(inside) != "" {
		return 0, false
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: flags, Pdeathsig: syscall.SIGKILL}
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		fmt.Fprintln(os.Stderr, "run tests in namespaces of their own:", err)
		return 1, true
	}
	if code = cmd.ProcessState.ExitCode(); code < 0 {
		code = 1 // a signal's
	}
	return code, true
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
