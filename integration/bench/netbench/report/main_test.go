// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"foundry/integration/bench/netbench"
)

func sample() *netbench.Results {
	r := netbench.NewResults()
	r.Rounds, r.Load = 2, []float64{0.1, 1.2}
	for i, way := range netbench.Ways {
		for _, m := range netbench.Measures {
			r.Add(m, way.Name, float64(10+i))
			r.Add(m, way.Name, float64(20+i))
		}
	}
	r.Cost = map[string][]float64{netbench.CostDrop: {100, 100}, netbench.CostForward: {300, 310}}
	r.FDB = map[string][]float64{netbench.FDBSmall: {100}, netbench.FDBHot: {90}}
	return r
}

// TestReport replaces the figures and nothing else, and draws well-formed XML.
func TestReport(t *testing.T) {
	dir := t.TempDir()
	in, doc, svg := filepath.Join(dir, "r.json"), filepath.Join(dir, "d.md"), filepath.Join(dir, "d.svg")
	if err := sample().Write(in); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(doc, []byte("before\n"+begin+"old\n"+end+"after\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run([]string{in, doc, svg}); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"before\n" + begin, end + "after\n", "2 rounds; before the first others kept 0.0 processors busy (load average 0.1, after the last 1.2).",
		"| one host: TCP stream | 1.07 x kernel bridge | 1.06 to 1.08 | >= 1.2 | missed |\n", "| XDP forward, live frames | 3.05 x XDP_DROP | ",
		"| <= 3.5 | met |\n", "| 100 entries | 1.00 | 1.00 to 1.00 |\n", "| kernel bridge | 1 | 1 |"} {
		if !strings.Contains(string(got), want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
	if strings.Contains(string(got), "old") {
		t.Error("the old figures are still there")
	}
	f, err := os.Open(svg)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rects := 0
	for d := xml.NewDecoder(f); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "rect" {
			rects++
		}
	}
	if want := 1 + 8 + 8*len(netbench.Measures); rects != want {
		t.Errorf("rectangles: got %d, want %d", rects, want)
	}
}

func TestReportRefuses(t *testing.T) {
	if err := run(nil); err == nil {
		t.Error("no arguments: no error")
	}
	dir := t.TempDir()
	in, doc := filepath.Join(dir, "r.json"), filepath.Join(dir, "d.md")
	if err := errors.Join(sample().Write(in), os.WriteFile(doc, []byte("no place\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := run([]string{in, doc, filepath.Join(dir, "d.svg")}); err == nil || !strings.Contains(err.Error(), "figures") {
		t.Errorf("a document without a place: got %v", err)
	}
}
