// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// inside tells the test program that it runs in its own namespaces.
const inside = "FOUNDRY_CRI_INSIDE"

// TestMain runs the tests in a program of its own, in fresh mount and network
// namespaces. What containerd mounts and the plugins link then harms nobody,
// and a test reaches a host port as if it were on the node.
func TestMain(m *testing.M) {
	if os.Geteuid() != 0 {
		os.Exit(m.Run()) // each test skips, and says so
	}
	if os.Getenv(inside) == "" {
		os.Exit(reenter())
	}
	if err := furnish(); err != nil {
		fmt.Fprintln(os.Stderr, "cri:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func reenter() int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET}
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "cri: run in namespaces:", err)
		return 1
	}
	return 0
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
