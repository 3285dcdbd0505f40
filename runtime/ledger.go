// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"slices"

	"foundry/runtime/journal"
)

// Ledger is what exists on the host for a container and goes with its Delete.
type Ledger struct {
	Cgroup     string   // below each mount of the hierarchies
	CgroupDirs []string // the directories
	Journal    string   // the directory of its journal
	Undo       []string // what Delete will do, in that order; none while it is doing so
}

// Ledger tells what the container owns. It waits for nothing.
func (c *Container) Ledger() Ledger {
	l := Ledger{Cgroup: c.group.Path(), CgroupDirs: c.group.Dirs()}
	l.Journal, _ = journal.Dir(c.rt.cfg.Root, c.name.namespace, c.name.id) // valid: it was created there
	if c.mu.TryLock() {
		defer c.mu.Unlock()
		for _, s := range slices.Backward(c.undo.steps) {
			l.Undo = append(l.Undo, s.name)
		}
	}
	return l
}

// Orphans is how many processes were left to the spawner and reaped by it:
// what daemons among the containers leave behind.
func (r *Runtime) Orphans() uint64 {
	c := r.spawner.Load()
	if c == nil {
		return 0
	}
	return c.Orphans()
}
