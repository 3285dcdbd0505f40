// SPDX-License-Identifier: Apache-2.0

package netbench

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
)

// The ways between two containers, in the order of tables.
const (
	WayVeth        = "veth pair"
	WayBridge      = "kernel bridge"
	WayTCX         = "Foundry tcx"
	WaySmall       = "Foundry tcx, frames of 64 KiB" // what senders have wherever nobody says more
	WayXDP         = "Foundry XDP"
	WayVXLAN       = "bridge + vxlan"
	WayTCXHosts    = "Foundry tcx, two hosts"
	WayBigHosts    = "Foundry tcx, two hosts, the wire takes 192 KiB"
	WayKernelHosts = "Foundry tcx, two hosts, encap kernel"
	WayXDPHosts    = "Foundry XDP, two hosts"
)

// What is measured of a way.
const (
	Stream  = "TCP stream"
	Streams = "TCP, 8 streams"
	RR      = "TCP_RR latency"
	CRR     = "TCP_CRR"
	UDP     = "UDP packets"
	CPU     = "CPU per Gbit"
	CPUs    = "CPU per Gbit, 8 streams"
)

// What is fed with live frames.
const (
	CostDrop    = "XDP_DROP"
	CostForward = "XDP forward"
	CostEncap   = "XDP encap"
	CostDecap   = "XDP decap"

	FDBSmall   = "100 entries"
	FDBHot     = "1,000,000 entries, 100 of them asked for"
	FDBUniform = "1,000,000 entries, all asked for"

	AttachFoundry   = "Foundry"
	AttachCNI       = "CNI's bridge, host-local and portmap"
	AttachPublished = "the same with masquerading and a published port"
)

// Results are what a run measured.
type Results struct {
	Rounds int
	Busy   float64                         // processors that others kept busy in the second before the first round
	Load   []float64                       // average of the last minute, before the first round and after each
	Series map[string]map[string][]float64 // by measure and way, one value for each round
	Cost   map[string][]float64            // of a frame, by program, in ns
	FDB    map[string][]float64            // frames per second, by case
	Attach map[string][]float64            // microseconds, by who attaches
}

// NewResults makes an empty one.
func NewResults() *Results {
	return &Results{Series: map[string]map[string][]float64{}, Cost: map[string][]float64{}, FDB: map[string][]float64{},
		Attach: map[string][]float64{}}
}

// Add notes a value of a round.
func (r *Results) Add(measure, way string, value float64) {
	if r.Series[measure] == nil {
		r.Series[measure] = map[string][]float64{}
	}
	r.Series[measure][way] = append(r.Series[measure][way], value)
}

// Spread is a median, and what half of the values are within.
type Spread struct{ Low, Median, High float64 }

// SpreadOf values; all zero when there is none.
func SpreadOf(values []float64) Spread {
	if len(values) == 0 {
		return Spread{}
	}
	v := slices.Sorted(slices.Values(values))
	at := func(q float64) float64 {
		x := q * float64(len(v)-1)
		i := int(x)
		if i+1 == len(v) {
			return v[i]
		}
		return v[i] + (x-float64(i))*(v[i+1]-v[i])
	}
	return Spread{at(0.25), at(0.5), at(0.75)}
}

// Ratio compares a way with another, round by round.
func (r *Results) Ratio(measure, way, base string) Spread {
	return RatiosOf(r.Series[measure][way], r.Series[measure][base])
}

// RatiosOf compares values that were taken in turn.
func RatiosOf(a, b []float64) Spread {
	var list []float64
	for i := range min(len(a), len(b)) {
		if b[i] > 0 {
			list = append(list, a[i]/b[i])
		}
	}
	return SpreadOf(list)
}

// Read reads what Write wrote.
func Read(file string) (*Results, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	r := NewResults()
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	return r, nil
}

// Write writes a file.
func (r *Results) Write(file string) error {
	b, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o644)
}
