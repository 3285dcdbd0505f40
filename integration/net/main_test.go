// SPDX-License-Identifier: Apache-2.0

package net

import (
	"fmt"
	"os"
	"syscall"
	"testing"

	"foundry/integration/env"
)

// TestMain runs the tests again in namespaces of their own: devices and
// mounts made there go with the process, and links with the bpffs.
func TestMain(m *testing.M) {
	if dir := os.Getenv(asControl); dir != "" {
		if err := serveControl(dir); err != nil {
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
