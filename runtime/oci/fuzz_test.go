// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"os"
	"path/filepath"
	"testing"
)

// FuzzParse looks for a panic, and for a spec that passes once and not twice.
func FuzzParse(f *testing.F) {
	f.Add([]byte(minimal))
	files, err := filepath.Glob("../plan/testdata/*.json")
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		spec, err := Parse(text)
		if err != nil {
			if err.Error() == "" {
				t.Error("error without text")
			}
			return
		}
		if err := Validate(spec); err != nil {
			t.Errorf("parsed spec is not valid: %v", err)
		}
	})
}

func FuzzParseProcess(f *testing.F) {
	f.Add([]byte(`{"terminal": true, "cwd": "/", "args": ["sh"], "env": ["A=b"], "rlimits": [{"type": "RLIMIT_AS"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if p, err := ParseProcess(text); err == nil && (p == nil || len(p.Args) == 0) {
			t.Errorf("got %v", p)
		}
	})
}
