// SPDX-License-Identifier: Apache-2.0

package metric

import (
	"bytes"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// What is written is read by Prometheus' own parser, and follows its rules.
func TestPrometheusReadsIt(t *testing.T) {
	var h Histogram
	for _, d := range []time.Duration{0, 100 * time.Microsecond, 3 * time.Millisecond, time.Hour} {
		h.Observe(d)
	}
	var w Writer
	w.One("foundry_goroutines", TypeGauge, "Goroutines: \"all\" of\nthem \\ here.", 12)
	w.Family("foundry_rpc_duration_seconds", TypeHistogram, "What a call took.")
	w.Histogram(&h, "method", "Create", "code", "OK")
	w.Family("foundry_exits_total", TypeCounter, "Ends.")
	w.Sample(1e18, "odd", "a\"b\\c\nd")
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(w.Bytes()))
	if err != nil || len(families) != 3 {
		t.Fatalf("%d families, %v in\n%s", len(families), err, w.Bytes())
	}
	got := families["foundry_rpc_duration_seconds"].Metric[0].Histogram
	if got.GetSampleCount() != 4 || h.Count() != 4 || len(got.Bucket) != len(bounds)+1 || got.Bucket[0].GetCumulativeCount() != 2 ||
		got.Bucket[len(bounds)-1].GetCumulativeCount() != 3 || got.GetSampleSum() < 3600 {
		t.Errorf("histogram: %v", got)
	}
	if v := families["foundry_exits_total"].Metric[0].Label[0].GetValue(); v != "a\"b\\c\nd" {
		t.Errorf("label: got %q", v)
	}
	if help := families["foundry_goroutines"].GetHelp(); help != "Goroutines: \"all\" of\nthem \\ here." {
		t.Errorf("help: got %q", help)
	}
	problems, err := promlint.New(bytes.NewReader(w.Bytes())).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
}

func BenchmarkObserve(b *testing.B) {
	var h Histogram
	for b.Loop() {
		h.Observe(3 * time.Millisecond)
	}
}
