// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"slices"
	"time"
)

// Series is measured times by what was measured: "create", "total" and so on.
type Series map[string][]time.Duration

// Add takes over the samples of another round.
func (s Series) Add(other Series) {
	for k, v := range other {
		s[k] = append(s[k], v...)
	}
}

// Quantile returns the time that a share p of the samples did not exceed; 0
// without samples.
func (s Series) Quantile(key string, p float64) time.Duration {
	v := slices.Sorted(slices.Values(s[key]))
	if len(v) == 0 {
		return 0
	}
	return v[int(p*float64(len(v)-1)+0.5)]
}

// Summary is a series as numbers for people and JSON, in milliseconds.
type Summary struct {
	N             int
	P50, P90, P99 float64
}

// Summarize sums up one key.
func (s Series) Summarize(key string) Summary {
	ms := func(p float64) float64 { return float64(s.Quantile(key, p).Microseconds()) / 1000 }
	return Summary{N: len(s[key]), P50: ms(.5), P90: ms(.9), P99: ms(.99)}
}
