// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"google.golang.org/grpc/codes"
)

// Each metric is explained to operators, and follows Prometheus' rules.
func TestFamilies(t *testing.T) {
	manual, err := os.ReadFile("../docs/operating.md")
	must(t, err)
	d, s := debugged(t)
	created(t, s)
	s.counts.observe("State", codes.OK, time.Millisecond)
	for _, f := range families {
		if !bytes.Contains(manual, []byte("`"+f.name+"`")) {
			t.Errorf("docs/operating.md does not explain %s", f.name)
		}
	}
	r := prometheus.NewPedanticRegistry()
	must(t, r.Register(scraped{d}))
	must(t, r.Register(s.counts.rpcs))
	got, err := r.Gather()
	must(t, err)
	problems, err := promlint.NewWithMetricFamilies(got).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
}

// A label that Prometheus has no text for costs its sample, not the scrape.
func TestBadLabel(t *testing.T) {
	d, _ := debugged(t)
	d.About.Version = "\xff"
	if code, text := looker(t, d)("GET", "/metrics", ""); code != 200 || !strings.Contains(text, "foundry_goroutines ") || strings.Contains(text, "foundry_build_info{") {
		t.Errorf("got %d, %s", code, text)
	}
}

func TestObserve(t *testing.T) {
	c := newCounts()
	for range 3 {
		c.observe("Create", codes.OK, time.Millisecond)
	}
	c.observe("Create", codes.NotFound, time.Hour)
	c.observe("Create", 1000, time.Hour) // no code of gRPC's
	r := prometheus.NewRegistry()
	must(t, r.Register(c.rpcs))
	got, err := r.Gather()
	must(t, err)
	if n := len(got[0].Metric); n != 3 {
		t.Errorf("got %d series, want those of OK, NotFound and Unauthenticated", n)
	}
	if n := testing.AllocsPerRun(100, func() { c.observe("Create", codes.OK, time.Millisecond) }); n != 0 {
		t.Errorf("a call is observed with %v allocations, want none", n)
	}
}

func BenchmarkObserve(b *testing.B) {
	c := newCounts()
	for b.Loop() {
		c.observe("Create", codes.OK, 3*time.Millisecond)
	}
}
