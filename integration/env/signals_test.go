// SPDX-License-Identifier: Apache-2.0

package env

import (
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// TestResetSignals: 32 is a signal that os/signal does not know. What else is
// ignored was so before the test.
func TestResetSignals(t *testing.T) {
	for _, n := range []syscall.Signal{32, syscall.SIGTTOU} {
		if err := IgnoreSignal(n); err != nil {
			t.Fatal(err)
		}
	}
	const both = 1<<(32-1) | 1<<(syscall.SIGTTOU-1)
	if got := ignoredByChild(t); got&both != both {
		t.Fatalf("before: a child ignores %#x, want %#x among them", got, both)
	}
	if err := ResetSignals(); err != nil {
		t.Fatal(err)
	}
	if got := ignoredByChild(t); got != 0 {
		t.Errorf("after: a child ignores %#x", got)
	}
}

func ignoredByChild(t *testing.T) uint64 {
	t.Helper()
	out, err := exec.Command("grep", "SigIgn", "/proc/self/status").Output()
	if err != nil {
		t.Fatal(err)
	}
	mask, err := strconv.ParseUint(strings.TrimSpace(strings.TrimPrefix(string(out), "SigIgn:")), 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return mask
}
