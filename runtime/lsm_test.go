// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"os"
	"path/filepath"
	"testing"
)

func TestProbeLSM(t *testing.T) {
	for _, tt := range []struct {
		name     string
		files    map[string]string
		apparmor string
		selinux  bool
	}{
		{"neither", nil, "", false},
		{"switched off", map[string]string{"sys/module/apparmor/parameters/enabled": "N\n"}, "", false},
		{"before Linux 5.8", map[string]string{"sys/module/apparmor/parameters/enabled": "Y\n", "proc/self/attr/exec": ""}, "attr/exec", false},
		{"AppArmor", map[string]string{"sys/module/apparmor/parameters/enabled": "Y\n", "proc/self/attr/apparmor/exec": ""}, "attr/apparmor/exec", false},
		{"SELinux", map[string]string{"sys/fs/selinux/enforce": "0"}, "", true},
	} {
		root := t.TempDir() + "/"
		for name, text := range tt.files {
			path := filepath.Join(root, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got := probeAppArmor(root); got != tt.apparmor {
			t.Errorf("%s: AppArmor: got %q, want %q", tt.name, got, tt.apparmor)
		}
		if got := probeSELinux(root); got != tt.selinux {
			t.Errorf("%s: SELinux: got %v, want %v", tt.name, got, tt.selinux)
		}
	}
}
