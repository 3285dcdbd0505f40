// SPDX-License-Identifier: Apache-2.0

package veth

import (
	"os"
	"syscall"
	"testing"

	"foundry/integration/env"
)

// TestMain runs the tests again in a network namespace of their own.
func TestMain(m *testing.M) {
	if code, done := env.InNamespaces(syscall.CLONE_NEWNET); done {
		os.Exit(code)
	}
	os.Exit(m.Run())
}
