// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"fmt"
	"os"

	v2 "github.com/containerd/cgroups/v3/cgroup2/stats"
)

// Detail is what a metrics endpoint can tell of a group beyond the messages of
// containerd's: they have no fields for it, and those of v1 none for pressure.
// Limits that are not set, and what the kernel lacks, are 0 or nil.
type Detail struct {
	// How long tasks waited, of the v2 tree: also on a hybrid host. nil where
	// the kernel does not measure it.
	CPU, Memory, IO *v2.PSIStats

	High, Min, Low    uint64 // memory.high, .min and .low
	Zswap, ZswapLimit uint64 // bytes of compressed memory
	Zswapped          uint64 // what is in there, uncompressed
	Swapins, Swapouts uint64 // pages, since kernel 6.13
	HighEvents        uint64 // reclaims because of High
	MaxEvents         uint64 // and because of the limit
}

// Detail reads them. It is cheap enough for a scrape of every container: nine
// small files.
func (g *Group) Detail() (Detail, error) {
	if !exists(g.members()) {
		return Detail{}, fmt.Errorf("read details of cgroup %s: %w", g.path, os.ErrNotExist)
	}
	r := &reader{group: g}
	d := Detail{CPU: r.pressure("cpu.pressure"), Memory: r.pressure("memory.pressure"), IO: r.pressure("io.pressure")}
	if g.info.Unified {
		d.High, d.Min, d.Low = noLimit(r.count("memory", "memory.high")), r.count("memory", "memory.min"), r.count("memory", "memory.low")
		d.Zswap, d.ZswapLimit = r.count("memory", "memory.zswap.current"), noLimit(r.count("memory", "memory.zswap.max"))
		s := r.fields("memory", "memory.stat")
		d.Zswapped, d.Swapins, d.Swapouts = s["zswapped"], s["pswpin"], s["pswpout"]
		e := r.fields("memory", "memory.events")
		d.HighEvents, d.MaxEvents = e["high"], e["max"]
	}
	if r.err != nil {
		return Detail{}, fmt.Errorf("read details of cgroup %s: %w", g.path, r.err)
	}
	return d, nil
}
