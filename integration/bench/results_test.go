// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"sort"
	"time"
)

// results is all that a run measured.
type results struct {
	series               map[string]Series // by runtime and what
	rate                 map[string][]float64
	memory               map[string]map[int]Memory
	warmFloor, coldFloor []time.Duration // medians of rounds
}

func newResults() *results {
	return &results{series: map[string]Series{}, rate: map[string][]float64{}, memory: map[string]map[int]Memory{}}
}

func (r *results) of(runtime, what string) Series {
	key := runtime + " " + what
	if r.series[key] == nil {
		r.series[key] = Series{}
	}
	return r.series[key]
}

func (r *results) p50(runtime, what string) float64 {
	return r.of(runtime, what).Summarize("total").P50
}

// ratio is how many times longer a takes than b; 0 when one is not there.
func (r *results) ratio(a, b, what string) float64 {
	return over(r.p50(a, what), r.p50(b, what))
}

func over(a, b float64) float64 {
	if a == 0 || b == 0 {
		return 0
	}
	return a / b
}

func (r *results) addMemory(runtime string, n int, m Memory) {
	if r.memory[runtime] == nil {
		r.memory[runtime] = map[int]Memory{}
	}
	r.memory[runtime][n] = m
}

// row is a line of the budget table.
type row struct {
	What, Budget string
	Got          float64
	Unit         string
	OK           bool
}

// rows holds what was measured against the budgets of the plan. A row without
// a value was not measured.
func (r *results) rows() []row {
	warm, cold := ms(median(r.warmFloor)), ms(median(r.coldFloor))
	atMost := func(what, unit string, got, budget float64) row {
		return row{what, fmt.Sprintf("<= %g", budget), got, unit, got <= budget}
	}
	atLeast := func(what, unit string, got, budget float64) row {
		return row{what, fmt.Sprintf(">= %g", budget), got, unit, got >= budget}
	}
	rate := func(runtime string) float64 { return medianOf(r.rate[runtime]) }
	base, slope := r.slope(foundry)
	rows := []row{
		atMost("life at the task API, warm", "x floor", over(r.p50(foundry, "task"), warm), 3),
		atMost("life at the task API, cold", "x floor", over(r.p50(foundry, "task-cold"), cold), 3),
		atLeast("life at the task API, warm", "x faster than runc v2", r.ratio(runc, foundry, "task"), 12),
		atMost("life through containerd", "x empty shim", r.ratio(foundry, noop, "life"), 1.35),
		atLeast("life through containerd", "x faster than runc v2", r.ratio(runc, foundry, "life"), 4.5),
		atLeast("exec through containerd", "x faster than runc v2", r.ratio(runc, foundry, "exec"), 8),
		atLeast("many lives at once, per second", "x runc v2", over(rate(foundry), rate(runc)), 5),
		atMost("memory with one container, PSS", "MB", base/1000, 30),
		atMost("memory for each more, PSS", "KiB", slope, 60),
	}
	return slices.DeleteFunc(rows, func(r row) bool { return r.Got == 0 })
}

// slope is the PSS at the smallest number of containers and what each further
// one adds, in KiB.
func (r *results) slope(runtime string) (base, slope float64) {
	var numbers []int
	for n := range r.memory[runtime] {
		numbers = append(numbers, n)
	}
	if len(numbers) < 2 {
		return 0, 0
	}
	sort.Ints(numbers)
	low, high := numbers[0], numbers[len(numbers)-1]
	m := r.memory[runtime]
	return float64(m[low].PSS), float64(m[high].PSS-m[low].PSS) / float64(high-low)
}

func (r *results) print(w io.Writer) {
	fmt.Fprintf(w, "\n%-12s %-28s %8s %8s %8s   (ms)\n", "what", "runtime", "p50", "p90", "p99")
	for _, key := range sorted(r.series) {
		s := r.series[key]
		for _, part := range sorted(s) {
			sum := s.Summarize(part)
			fmt.Fprintf(w, "%-42s %-8s %8.2f %8.2f %8.2f\n", key, part, sum.P50, sum.P90, sum.P99)
		}
	}
	fmt.Fprintf(w, "%-51s %8.2f\n%-51s %8.2f\n", "floor, warm", ms(median(r.warmFloor)), "floor, cold", ms(median(r.coldFloor)))
	for _, runtime := range sorted(r.memory) {
		for _, n := range sorted(r.memory[runtime]) {
			m := r.memory[runtime][n]
			fmt.Fprintf(w, "%-28s %4d idle containers: %3d processes, %6d KiB PSS, %6d KiB RSS\n", runtime, n, m.Processes, m.PSS, m.RSS)
		}
	}
	for _, runtime := range sorted(r.rate) {
		fmt.Fprintf(w, "%-28s %8.1f lives a second, many at once\n", runtime, medianOf(r.rate[runtime]))
	}
	fmt.Fprintf(w, "\n%-34s %-24s %8s %10s\n", "budget", "", "got", "aim")
	for _, row := range r.rows() {
		verdict := "ok"
		if !row.OK {
			verdict = "over budget"
		}
		fmt.Fprintf(w, "%-34s %-24s %8.2f %10s  %s\n", row.What, row.Unit, row.Got, row.Budget, verdict)
	}
}

func (r *results) writeJSON(file string) error {
	series := map[string]map[string]Summary{}
	for key, s := range r.series {
		series[key] = map[string]Summary{}
		for part := range s {
			series[key][part] = s.Summarize(part)
		}
	}
	b, err := json.MarshalIndent(map[string]any{"budgets": r.rows(), "series_ms": series, "memory_kib": r.memory, "lives_per_second": r.rate,
		"floor_ms": map[string]float64{"warm": ms(median(r.warmFloor)), "cold": ms(median(r.coldFloor))}}, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o644)
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func median(v []time.Duration) time.Duration {
	if len(v) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(v))[len(v)/2]
}

func medianOf(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(v))[len(v)/2]
}

func sorted[K interface{ ~string | ~int }, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
