// SPDX-License-Identifier: Apache-2.0

package metric

import (
	"sync/atomic"
	"time"
)

// bounds are the upper ends of the buckets: from a call that reads memory to one
// that runs hooks.
var bounds = [...]time.Duration{
	100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, time.Minute,
}

// Histogram counts durations. The zero value is ready, and any number of
// goroutines may observe; who reads meanwhile sees some of it.
type Histogram struct {
	sum    atomic.Int64
	counts [len(bounds) + 1]atomic.Uint64
}

// Observe counts one.
func (h *Histogram) Observe(d time.Duration) {
	i := 0
	for i < len(bounds) && d > bounds[i] {
		i++
	}
	h.counts[i].Add(1)
	h.sum.Add(int64(d))
}

// Count is how many were observed.
func (h *Histogram) Count() (n uint64) {
	for i := range h.counts {
		n += h.counts[i].Load()
	}
	return n
}
