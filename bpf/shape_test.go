// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The C is held to what the Go is: short functions and files, a licence in
// the first line, and the same names at both hooks.
func TestShape(t *testing.T) {
	const maxFile, maxFunction = 400, 40
	files, err := filepath.Glob("c/*.[hc]")
	if err != nil || len(files) == 0 {
		t.Fatalf("no C files: %v", err)
	}
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(string(b), "\n")
		if len(lines) > maxFile {
			t.Errorf("%s: %d lines, more than %d", path, len(lines), maxFile)
		}
		if want := "/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */"; lines[0] != want {
			t.Errorf("%s: first line: got %q, want %q", path, lines[0], want)
		}
		begin := 0
		for i, line := range lines {
			switch line {
			case "{":
				begin = i
			case "}":
				if n := i - begin + 1; n > maxFunction {
					t.Errorf("%s:%d: function of %d lines, more than %d", path, begin+1, n, maxFunction)
				}
			}
		}
	}
}

func TestHooksAgree(t *testing.T) {
	if tc, xdp := hookNames(t, "c/hook_tc.h"), hookNames(t, "c/hook_xdp.h"); tc != xdp {
		t.Errorf("functions of the hooks differ:\n%s\n%s", tc, xdp)
	}
}

func hookNames(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, line := range strings.Split(string(b), "\n") {
		if strings.HasPrefix(line, "static ") {
			names = append(names, line[:strings.LastIndex(line, ")")+1])
		}
	}
	return strings.Join(names, "\n")
}
