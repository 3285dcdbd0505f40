// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"fmt"
	"os"
	"syscall"
	"testing"

	"foundry/integration/env"
)

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
	if code, done := env.InNamespaces(syscall.CLONE_NEWNET); done {
		os.Exit(code)
	}
	os.Exit(m.Run())
}
