// SPDX-License-Identifier: Apache-2.0

package spawn

import (
	"os/exec"
	"strings"
	"testing"
)

// TestCommittedBinary: the sources give the embedded program byte for byte,
// with the compiler that it was built by.
func TestCommittedBinary(t *testing.T) {
	if len(spawnerBinary) >= 128<<10 {
		t.Errorf("the spawner has %d bytes, want fewer than 128 Ki", len(spawnerBinary))
	}
	if _, err := exec.LookPath("musl-gcc"); err != nil {
		t.Skip("SKIPPED: needs musl-gcc")
	}
	if v, err := exec.Command("gcc", "-dumpfullversion").Output(); err != nil || strings.TrimSpace(string(v)) != "12.2.0" {
		t.Skipf("SKIPPED: needs gcc 12.2.0, has %s", v)
	}
	if out, err := exec.Command("make", "-s", "-C", "c", "verify").CombinedOutput(); err != nil {
		t.Errorf("run `go generate ./runtime/spawn` and commit what it builds: %v\n%s", err, out)
	}
}
