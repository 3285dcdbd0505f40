// SPDX-License-Identifier: Apache-2.0

package spawn

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestWorkingDirectoryOfHost: an image's working directory that is missing is
// made, but not through a descriptor that the stage has of the host's
// directories: there its name would lead out of the root. CVE-2024-21626 is the
// same door.
func TestWorkingDirectoryOfHost(t *testing.T) {
	w := newWorld(t, 64)
	ct := newContainer(t, "true")
	host := t.TempDir()
	up := strings.Repeat("/..", strings.Count(ct.facts.Rootfs, "/"))
	for fd := 3; fd < 32; fd++ {
		ct.spec.Process.Cwd = filepath.Join("/proc/self/fd", fmt.Sprint(fd)) + up + host + "/made"
		proc, err := w.try(ct.plan(t))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := proc.Sync(w.context()); err == nil {
			t.Errorf("working directory below descriptor %d: got no error", fd)
			_ = proc.Signal(9)
		}
		w.exit(proc)
	}
	if made, _ := os.ReadDir(host); len(made) != 0 {
		t.Errorf("the host got %v", made)
	}
}
