// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

const inOwnNetns = "FOUNDRY_TEST_NETNS"

// TestMain runs the tests again in a network namespace of their own: devices
// made there go with the process, and lo is nobody else's.
func TestMain(m *testing.M) {
	if what := os.Getenv(asPeer); what != "" {
		if err := peer(what); err != nil {
			fmt.Fprintln(os.Stderr, what+":", err)
			os.Exit(1)
		}
		return
	}
	if os.Geteuid() != 0 || os.Getenv(inOwnNetns) != "" {
		os.Exit(m.Run())
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inOwnNetns+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "run tests in a network namespace of their own:", err)
		os.Exit(1)
	}
}
