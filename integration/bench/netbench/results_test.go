// SPDX-License-Identifier: Apache-2.0

package netbench

import (
	"strings"
	"testing"
)

// Ratios are taken within a round: what slows all of it down is not in them.
func TestRatioIsOfOneRound(t *testing.T) {
	r := NewResults()
	for _, slow := range []float64{1, 10, 2} {
		r.Add(Stream, WayBridge, 100/slow)
		r.Add(Stream, WayTCX, 130/slow)
	}
	if got, want := r.Ratio(Stream, WayTCX, WayBridge), (Spread{1.3, 1.3, 1.3}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := r.Ratio(Stream, WayXDP, WayBridge); got != (Spread{}) {
		t.Errorf("what was not measured: got %v", got)
	}
}

func TestSpread(t *testing.T) {
	if got, want := SpreadOf([]float64{5, 1, 3, 2, 4}), (Spread{2, 3, 4}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if got, want := SpreadOf([]float64{1, 2}), (Spread{1.25, 1.5, 1.75}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

// Slower than the kernel is broken when most rounds say so, not when some do.
func TestBroken(t *testing.T) {
	r := NewResults()
	for _, v := range []float64{80, 90, 95, 120} {
		r.Add(Stream, WayBridge, 100)
		r.Add(Stream, WayTCX, v)
	}
	if got := r.Broken(); got != "" {
		t.Errorf("one round of four was faster: got %q", got)
	}
	r = NewResults()
	for range 4 {
		r.Add(Stream, WayBridge, 100)
		r.Add(Stream, WayTCX, 90)
	}
	if got := r.Broken(); !strings.Contains(got, WayTCX) {
		t.Errorf("all were slower: got %q", got)
	}
}
