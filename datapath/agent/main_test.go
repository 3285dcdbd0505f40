// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"os"
	"syscall"
	"testing"

	"foundry/integration/env"
)

// TestMain runs the tests again in namespaces of their own.
func TestMain(m *testing.M) {
	if code, done := env.InNamespaces(syscall.CLONE_NEWNET | syscall.CLONE_NEWNS); done {
		os.Exit(code)
	}
	os.Exit(m.Run())
}
