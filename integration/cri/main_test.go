// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"foundry/integration/env"
)

// TestMain runs the tests in a program of its own, in fresh mount and network
// namespaces. What containerd mounts and the plugins link then harms nobody,
// and a test reaches a host port as if it were on the node.
func TestMain(m *testing.M) {
	if code, done := env.InNamespaces(syscall.CLONE_NEWNS | syscall.CLONE_NEWNET); done {
		os.Exit(code)
	}
	err := env.ResetSignals()
	if err == nil && os.Geteuid() == 0 { // else each test skips, and says so
		err = furnish()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "cri:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// furnish makes the namespaces habitable: a loopback that is up, for
// containerd's streaming server, and empty directories where libcni and the
// plugins keep their records.
func furnish() error {
	for _, dir := range []string{"/var/lib", "/etc/cni"} {
		err := unix.Mount("tmpfs", dir, "tmpfs", 0, "")
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("mount tmpfs on %s: %w", dir, err)
		}
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open socket: %w", err)
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
		return fmt.Errorf("set lo up: %w", err)
	}
	return nil
}
