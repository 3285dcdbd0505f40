// SPDX-License-Identifier: Apache-2.0

package flight

import (
	"fmt"

	"golang.org/x/sys/unix"

	"foundry/shim/view"
)

// Explain says in a sentence how it stands with a container, or why it ended:
// what its events say together.
func Explain(events []view.Event) string {
	var l last
	for i := range events {
		if e := &events[i]; e.Process == "" {
			l.take(e)
		}
	}
	switch {
	case l.failed != nil && l.failed.What == view.CreateFailed:
		return "it was never created: " + l.failed.Detail
	case l.failed != nil && l.exit == nil:
		return "it did not start: " + l.failed.Detail
	case l.failed != nil:
		return "it did not start: " + l.failed.Detail + "; " + l.ended()
	case l.exit != nil && l.undeleted != nil:
		return l.ended() + "; deleting it left something behind: " + l.undeleted.Detail
	case l.exit != nil:
		return l.ended()
	case l.started != nil:
		return "it runs"
	case l.created != nil:
		return "it is created and was not started"
	}
	return "it is being created"
}

// last are the events that count, of the last life under this id.
type last struct {
	created, started, failed, exit, oom, signal, undeleted *view.Event
}

func (l *last) take(e *view.Event) {
	switch e.What {
	case view.Create:
		*l = last{}
	case view.Created:
		l.created = e
	case view.Started:
		l.started = e
	case view.CreateFailed, view.StartFailed:
		l.failed = e
	case view.Exited:
		l.exit = e
	case view.OOM:
		l.oom = e
	case view.DeleteFailed:
		l.undeleted = e
	case view.Deleted:
		l.undeleted = nil
	case view.Killed:
		if l.exit == nil {
			l.signal = e
		}
	}
}

func (l *last) ended() string {
	e := l.exit
	if e.Signal == 0 {
		text := fmt.Sprintf("init exited with status %d", e.Status)
		if l.oom != nil {
			text += "; before that the kernel killed for memory: " + l.oom.Detail
		}
		return text
	}
	text := "init was ended by " + Signal(e.Signal)
	switch {
	case e.Signal == int(unix.SIGKILL) && l.oom != nil:
		text += ": out of memory, " + l.oom.Detail
	case l.signal != nil && l.signal.Signal == e.Signal:
		text += ", which was asked for by " + l.signal.Detail
	case e.Signal == int(unix.SIGKILL):
		text += ", which neither containerd nor the container's own limit of memory caused: somebody on the host, or the host's memory (see dmesg)"
	default:
		text += ", which nobody asked for through containerd"
	}
	return text
}

// Signal is the name of a signal.
func Signal(n int) string {
	if name := unix.SignalName(unix.Signal(n)); name != "" {
		return name
	}
	return fmt.Sprintf("signal %d", n)
}
