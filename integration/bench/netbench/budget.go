// SPDX-License-Identifier: Apache-2.0

package netbench

import (
	"fmt"
	"slices"
	"strings"
)

// Row is a line of the table of budgets.
type Row struct {
	What, Against string
	Got           Spread
	Aim           float64
	Most          bool // Aim is an upper bound
}

// OK says whether the median meets the aim.
func (r Row) OK() bool {
	if r.Most {
		return r.Got.Median <= r.Aim
	}
	return r.Got.Median >= r.Aim
}

// Budget is the aim as text.
func (r Row) Budget() string {
	if r.Most {
		return fmt.Sprintf("<= %g", r.Aim)
	}
	return fmt.Sprintf(">= %g", r.Aim)
}

// Rows compares with the budgets. What was not measured is left out.
func (r *Results) Rows() (rows []Row) {
	for _, row := range []Row{
		{"one host: TCP stream", "x " + WayBridge, r.Ratio(Stream, WayTCX, WayBridge), 1.2, false},
		{"one host: TCP, 8 streams", "x " + WayBridge, r.Ratio(Streams, WayTCX, WayBridge), 1.2, false},
		{"one host: TCP_RR, latency", "x " + WayBridge, r.Ratio(RR, WayTCX, WayBridge), 0.8, true},
		{"one host: CPU per Gbit of a stream", "x " + WayBridge, r.Ratio(CPU, WayTCX, WayBridge), 0.8, true},
		{"two hosts: TCP stream", "x " + WayVXLAN, r.Ratio(Stream, WayTCXHosts, WayVXLAN), 1.2, false},
		{"two hosts: TCP, 8 streams", "x " + WayVXLAN, r.Ratio(Streams, WayTCXHosts, WayVXLAN), 1.2, false},
		{"two hosts: TCP_RR, latency", "x " + WayVXLAN, r.Ratio(RR, WayTCXHosts, WayVXLAN), 0.7, true},
		{CostForward + ", live frames", "x " + CostDrop, RatiosOf(r.Cost[CostForward], r.Cost[CostDrop]), 3.5, true},
		{CostEncap + ", live frames", "x " + CostDrop, RatiosOf(r.Cost[CostEncap], r.Cost[CostDrop]), 3.5, true},
		{CostDecap + ", live frames", "x " + CostDrop, RatiosOf(r.Cost[CostDecap], r.Cost[CostDrop]), 3.5, true},
		{"FDB: " + FDBHot, "x the rate of " + FDBSmall, r.FDBRatio(FDBHot), 0.95, false},
		{"attach a container", "x faster than " + AttachCNI, r.AttachRatio(AttachCNI), 20, false},
	} {
		if row.Got.Median > 0 {
			rows = append(rows, row)
		}
	}
	return rows
}

// FDBRatio is the rate of a case against that with few entries.
func (r *Results) FDBRatio(name string) Spread {
	return RatiosOf(r.FDB[name], r.FDB[FDBSmall])
}

// AttachRatio is how many times longer than Foundry another takes.
func (r *Results) AttachRatio(name string) Spread {
	return RatiosOf(r.Attach[name], r.Attach[AttachFoundry])
}

// Broken are what must never be, and what a run fails for: a way of Foundry's
// that stands still, or is slower than the kernel's where the spread leaves no
// doubt. Budgets are printed and fail nothing: machines differ. On two hosts
// with frames of 64 KiB both ways are about as fast, and rounds fall on either
// side, so the floor lies lower there.
func (r *Results) Broken() string {
	var list []string
	for _, c := range []struct {
		measure, way, base string
		floor              float64
	}{
		{Stream, WayTCX, WayBridge, 1}, {Streams, WayTCX, WayBridge, 1},
		{Stream, WayTCXHosts, WayVXLAN, 0.6}, {Streams, WayTCXHosts, WayVXLAN, 0.6},
		{Stream, WayBigHosts, WayVXLAN, 0.6}, {Stream, WayKernelHosts, WayVXLAN, 0.4},
		{Stream, WayXDP, WayBridge, 0.02}, {Stream, WayXDPHosts, WayVXLAN, 0.02},
	} {
		if x := r.Ratio(c.measure, c.way, c.base); x.Median > 0 && x.High < c.floor && r.best(c.measure, c.way, c.base) < c.floor {
			list = append(list, fmt.Sprintf("%s: %s: %.2f x %s, and in three rounds of four at most %.2f (floor %g)",
				c.measure, c.way, x.Median, c.base, x.High, c.floor))
		}
	}
	return strings.Join(list, "\n")
}

// best compares the best rounds of two ways: whatever else the machine does
// makes rounds worse, never better.
func (r *Results) best(measure, way, base string) float64 {
	a, b := r.Series[measure][way], r.Series[measure][base]
	return slices.Max(a) / slices.Max(b)
}
