// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"fmt"
	"syscall"
	"time"

	"foundry/runtime"
	"foundry/shim/flight"
	"foundry/shim/view"
)

// recorded is what the flight record calls a verb; "" is not recorded here:
// Kill and OOM are, with more detail, by who knows it.
var recorded = [verbCount]string{
	DidCreate: view.Created, Start: view.Start, DidStart: view.Started, NoStart: view.StartFailed,
	Pause: "pause", DidPause: "paused", NoPause: "pause failed",
	Resume: "resume", DidResume: "resumed", NoResume: "resume failed",
	Update: "update", Add: "exec", Exit: view.Exited,
	Delete: "delete", DidDelete: view.Deleted, NoDelete: view.DeleteFailed, Swept: "rest killed",
}

// note adds to the container's flight record.
func (c *container) note(e view.Event) { c.flight.Note(flight.Key(c.key), e) }

// noteLocked records a step that was taken.
func (c *container) noteLocked(ev Event) {
	what := recorded[ev.Verb]
	if what == "" {
		return
	}
	e := view.Event{What: what, Process: ev.Exec, Pid: ev.Pid}
	if ev.Err != nil {
		e.Detail = ev.Err.Error()
	}
	if ev.Verb == NoDelete {
		c.counts.undeleted.Add(1)
	}
	if ev.Verb == Exit {
		e.At, e.Status, e.Signal = ev.Exit.At, int(ev.Exit.Status), ev.Exit.Signal
		e.Pid = c.procLocked(ev.Exec).Pid
	}
	c.note(e)
}

func (c *container) procLocked(exec string) Proc {
	if exec == "" {
		return c.state.Init
	}
	return c.state.Execs[exec]
}

func (c *container) noteCreate() {
	c.note(view.Event{At: c.since, What: view.Create, Detail: c.bundle})
}

// notePhase records a part of Create or Start that is through.
func (c *container) notePhase(p runtime.Phase, took time.Duration) {
	c.note(view.Event{What: view.Phase + string(p), Took: took})
	c.span.Part(string(p), took)
}

// noteFailure records a create that failed; it is the last of the container.
func (c *container) noteFailure(err error) {
	c.counts.failed.Add(1)
	c.note(view.Event{What: view.CreateFailed, Took: time.Since(c.since), Detail: err.Error()})
	c.flight.Gone(flight.Key(c.key))
}

// noteSignal records who asked for a signal.
func (c *container) noteSignal(exec string, sig syscall.Signal, all bool) {
	by := "containerd (Kill)"
	if all {
		by = "containerd (Kill all)"
	}
	c.note(view.Event{What: view.Killed, Process: exec, Signal: int(sig), Detail: by})
}

// noteForced records that a container is killed in order to be deleted.
func (c *container) noteForced() {
	c.note(view.Event{What: view.Killed, Signal: int(syscall.SIGKILL), Detail: "containerd (delete of what had not ended)"})
}

// noteOOM records kills that were not known before, with what the memory was.
func (c *container) noteOOM(kills uint64) {
	c.mu.Lock()
	before := max(c.state.Pending, c.state.OOMs)
	c.mu.Unlock()
	if kills <= before {
		return
	}
	detail := fmt.Sprintf("%d killed", kills-before)
	if u, err := c.usage(); err == nil {
		detail += ", limit " + humanSize(u.MemoryLimit, "none") + ", peak " + humanSize(u.MemoryPeak, "unknown")
	}
	c.note(view.Event{What: view.OOM, Detail: detail})
}

// humanSize prints a size for people; zero is none.
func humanSize(n uint64, none string) string {
	const kib, mib, gib = 1 << 10, 1 << 20, 1 << 30
	switch {
	case n == 0:
		return none
	case n >= gib:
		return fmt.Sprintf("%.1f GiB", float64(n)/gib)
	case n >= mib:
		return fmt.Sprintf("%.1f MiB", float64(n)/mib)
	}
	return fmt.Sprintf("%.1f KiB", float64(n)/kib)
}
