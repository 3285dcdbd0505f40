// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const sample = `{"budgets": [{"What": "exec", "Budget": ">= 8", "Got": 6.354, "Unit": "x faster", "OK": false}],
"series_ms": {"io.containerd.foundry.v1 task": {"total": {"P50": 8, "P90": 8, "P99": 8}, "create": {"P50": 4}, "start": {"P50": 1}, "exit": {"P50": 1}, "delete": {"P50": 2}},
 "io.containerd.foundry.v1 exec": {"total": {"P50": 2, "P90": 3, "P99": 4}},
 "io.containerd.runc.v2 exec": {"total": {"P50": 10, "P90": 11, "P99": 12}}},
"memory_kib": {"io.containerd.foundry.v1": {"10": {"Processes": 2, "PSS": 200}, "1": {"Processes": 2, "PSS": 100}}}}`

// TestReport replaces the figures and nothing else, and is told where they go.
func TestReport(t *testing.T) {
	dir := t.TempDir()
	in, doc := filepath.Join(dir, "r.json"), filepath.Join(dir, "d.md")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(in, sample)
	write(doc, "before\n"+begin+"old\n"+end+"after\n")
	if err := run([]string{in, doc}); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"before\n" + begin, end + "after\n", "| exec | 6.35 x faster | >= 8 | missed |\n", "| task | 1.00 / 1.00 / 1.00 | - | - |\n",
		"divides into create 50 %, start 12 %, exit 12 %, delete 25 %.",
		"| exec | 1.00 / 1.50 / 2.00 | 5.00 / 5.50 / 6.00 | - |\n", "| life | - | - | - |\n", "| Foundry | 1.00 (2) | 2.00 (2) |\n", "| containers | 1 | 10 |\n",
	} {
		if !strings.Contains(string(got), want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
	if strings.Contains(string(got), "old") {
		t.Error("the old figures are still there")
	}
	write(doc, "no place\n")
	if err := run([]string{in, doc}); err == nil || !strings.Contains(err.Error(), "figures") {
		t.Errorf("a document without a place: got %v", err)
	}
	if err := run(nil); err == nil {
		t.Error("no arguments: no error")
	}
}
