// SPDX-License-Identifier: Apache-2.0

package main

import (
	"path/filepath"
	"testing"
)

// No spelling of a directory makes the pins of all instances those of one.
func TestInstanceRoot(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "net")
	t.Chdir(filepath.Dir(dir))
	for root, want := range map[string]string{
		dir: dir, dir + "/": dir, "net": dir, "./net/.": dir, ".": filepath.Dir(dir), "net/..": filepath.Dir(dir), "": "", "/": "", "/..": "",
	} {
		if got, err := instanceRoot(root); (err != nil) != (want == "") || err == nil && got != want {
			t.Errorf("%q: got %q, %v, want %q", root, got, err, want)
		}
	}
}
