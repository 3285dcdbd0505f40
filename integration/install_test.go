// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"foundry/integration/env"
)

// TestInstall: one command installs all that a node needs, one removes it, and
// what others have there stays.
func TestInstall(t *testing.T) {
	env.Bin(t)
	root := t.TempDir()
	others := filepath.Join(root, "etc/containerd/conf.d/other.toml")
	if err := os.MkdirAll(filepath.Dir(others), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(others, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	run := func(target string) {
		t.Helper()
		cmd := exec.Command("make", "--no-print-directory", "--old-file=build", target, "DESTDIR="+root, "PREFIX=/usr")
		cmd.Dir = env.Module(t)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("make %s: %v\n%s", target, err, out)
		}
	}
	run("install")
	run("install")
	installed := filesBelow(t, root)
	for _, want := range []string{"usr/bin/containerd-shim-foundry-v1", "usr/bin/foundryd", "usr/bin/foundry-delete", "etc/containerd/conf.d/foundry.toml",
		"usr/share/foundry/kubernetes/runtimeclass.yaml", "usr/share/foundry/containerd/foundry-1.7.toml"} {
		if !slices.Contains(installed, want) {
			t.Errorf("not installed: %s", want)
		}
	}
	run("uninstall")
	run("uninstall")
	if left := filesBelow(t, root); !slices.Equal(left, []string{"etc/containerd/conf.d/other.toml"}) {
		t.Errorf("left after uninstall: %q", left)
	}
}

func filesBelow(t *testing.T, root string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			name, _ := filepath.Rel(root, path)
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
