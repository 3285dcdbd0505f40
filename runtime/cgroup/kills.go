// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"path"
	"sync"
)

// kills finds out about processes that were killed in a scope that systemd
// removed before anybody had read its count: it does so at once when the last
// process dies, which in most containers is the one that is killed. The slice
// above counts for all below it, and stays: what no scope there has counted,
// and none that is gone is known for, happened in one that is gone.
type kills struct {
	mu     sync.Mutex
	scopes map[*Group]uint64 // ours that were begun: what was missing then
	told   map[string]uint64 // by slice: the kills in scopes of ours that were removed
}

// missing are the kills of a slice that nobody accounts for.
func (k *kills) missing(slice string) uint64 {
	for range 3 { // the files are not read all at once
		all, err := readField(slice, "memory.events", "oom_kill")
		if err != nil || all == 0 {
			return 0
		}
		counted := k.told[slice]
		names, _ := subdirs(slice)
		for _, name := range names {
			n, _ := readField(path.Join(slice, name), "memory.events", "oom_kill")
			counted += n
		}
		for g := range k.scopes {
			if path.Dir(g.v2) == slice && !exists(g.v2) {
				counted += g.last.keepKills(0)
			}
		}
		if again, _ := readField(slice, "memory.events", "oom_kill"); again == all {
			return all - min(counted, all)
		}
	}
	return 0
}

// begin notes what was missing before anybody was in g.
func (k *kills) begin(g *Group) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.scopes == nil {
		k.scopes, k.told = map[*Group]uint64{}, map[string]uint64{}
	}
	k.scopes[g] = k.missing(path.Dir(g.v2))
}

// claim puts down to g, which is gone, what is missing since begin.
func (k *kills) claim(g *Group) {
	k.mu.Lock()
	defer k.mu.Unlock()
	before, ok := k.scopes[g]
	if !ok {
		return
	}
	if now := k.missing(path.Dir(g.v2)); now > before {
		g.last.keepKills(g.last.keepKills(0) + now - before)
	}
}

// end remembers of g, which is being removed, nothing but its number.
func (k *kills) end(g *Group) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, ok := k.scopes[g]; ok {
		delete(k.scopes, g)
		k.told[path.Dir(g.v2)] += g.last.keepKills(0)
	}
}
