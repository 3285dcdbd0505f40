// SPDX-License-Identifier: Apache-2.0

package journal

import "time"

// Kind says what an entry announces.
type Kind string

// The kinds of [Entry], with the fields that each uses.
const (
	Opened   Kind = "opened"   // Namespace, ID, Bundle, Slots, Key: all processes of the container have keys in [Key, Key+KeySpan)
	Cgroup   Kind = "cgroup"   // Path: the container's cgroup is about to be made
	Mounts   Kind = "mounts"   // Path: mounts are about to be made on the host, at and below it
	Spawn    Kind = "spawn"    // init is about to be cloned: from here on the cgroup may hold our processes
	Process  Kind = "process"  // Key, Pid, Start: init was cloned
	Hooks    Kind = "hooks"    // the createRuntime hooks are about to run, so poststop hooks must
	Poststop Kind = "poststop" // the poststop hooks have run
	Exited   Kind = "exited"   // Pid, Status, Signal, At: init has ended
)

// KeySpan is how many spawner keys belong to one container: init has the
// first, its execs and hooks the others. A range, because a line for each exec
// would let the file grow without end under a health check.
const KeySpan = 1 << 24

// Entry is one line of a journal.
type Entry struct {
	Kind      Kind      `json:"kind"`
	Namespace string    `json:"namespace,omitempty"`
	ID        string    `json:"id,omitempty"`
	Bundle    string    `json:"bundle,omitempty"`
	Slots     string    `json:"slots,omitempty"`
	Path      string    `json:"path,omitempty"`
	Key       uint64    `json:"key,omitempty"`
	Pid       int       `json:"pid,omitempty"`
	Start     uint64    `json:"start,omitempty"` // clock ticks after boot, field 22 of /proc/PID/stat
	Status    int       `json:"status,omitempty"`
	Signal    int       `json:"signal,omitempty"`
	At        time.Time `json:"at,omitzero"`
}

// Record is what a journal amounts to: what there may be to undo.
type Record struct {
	Namespace, ID string
	Bundle        string
	Slots         string
	Key           uint64
	Cgroup        string // "" when none was begun
	Mounts        string // "" when none was begun on the host
	Spawned       bool   // init may have been cloned
	Pid           int    // of init; 0 when its clone was not recorded
	Start         uint64
	Hooks         bool // createRuntime hooks were begun
	Poststop      bool // poststop hooks are done
	Exit          *Entry
}

// Fold reads entries in their order into a [Record].
func Fold(entries []Entry) Record {
	var r Record
	for _, e := range entries {
		switch e.Kind {
		case Opened:
			r.Namespace, r.ID, r.Bundle, r.Slots, r.Key = e.Namespace, e.ID, e.Bundle, e.Slots, e.Key
		case Cgroup:
			r.Cgroup = e.Path
		case Mounts:
			r.Mounts = e.Path
		case Spawn:
			r.Spawned = true
		case Process:
			r.Pid, r.Start = e.Pid, e.Start
		case Hooks:
			r.Hooks = true
		case Poststop:
			r.Poststop = true
		case Exited:
			r.Exit = &e
		}
	}
	return r
}
