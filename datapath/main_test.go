// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

const inOwnNamespaces = "FOUNDRY_TEST_NETNS"

// TestMain runs the tests again in namespaces of their own: devices and the
// bpffs go with the process, and links with the bpffs.
func TestMain(m *testing.M) {
	if os.Geteuid() != 0 || os.Getenv(inOwnNamespaces) != "" {
		os.Exit(m.Run())
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inOwnNamespaces+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "run tests in namespaces of their own:", err)
		os.Exit(1)
	}
}
