// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"fmt"
	"os"
	"syscall"
	"testing"

	"foundry/integration/env"
)

// TestMain runs the tests again in namespaces of their own: devices and the
// bpffs go with the process, and links with the bpffs.
func TestMain(m *testing.M) {
	if dir := os.Getenv(asHolder); dir != "" {
		if err := hold(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if words := os.Getenv(victim); words != "" {
		if err := beVictim(words); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if code, done := env.InNamespaces(syscall.CLONE_NEWNET | syscall.CLONE_NEWNS); done {
		os.Exit(code)
	}
	os.Exit(m.Run())
}
