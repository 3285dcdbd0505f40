// SPDX-License-Identifier: Apache-2.0

package netbench

import (
	"os"
	"syscall"
	"testing"

	"foundry/integration/env"
)

// TestMain runs it again in namespaces of its own: devices go with the
// process, and so do links, with the bpffs.
func TestMain(m *testing.M) {
	if code, done := env.InNamespaces(syscall.CLONE_NEWNET | syscall.CLONE_NEWNS); done {
		os.Exit(code)
	}
	os.Exit(m.Run())
}
