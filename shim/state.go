// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"fmt"
	"maps"
	"time"
)

// Phase is where a process (the init of a container or an exec) stands.
type Phase uint8

// The phases. An exec is Created when it was added and has no process yet.
const (
	Absent   Phase = iota // no such process; in the tables: not allowed
	Creating              // the id is taken, nothing is visible yet
	Created
	Starting
	Running
	Pausing
	Paused
	Resuming
	Ending // init only: dead, but its TaskExit waits for the others'
	Stopped
	Deleting
	Deleted
	phaseCount
)

var phaseNames = [phaseCount]string{
	"absent", "creating", "created", "starting", "running", "pausing", "paused",
	"resuming", "stopping", "stopped", "deleting", "deleted",
}

func (p Phase) String() string { return phaseNames[p] }

// Verb is what happens to a process: a request (Start), or the outcome of
// what a request began (DidStart, NoStart), or news (Exit, OOM, Swept).
type Verb uint8

// The verbs.
const (
	DidCreate Verb = iota
	Start
	DidStart
	NoStart
	Pause
	DidPause
	NoPause
	Resume
	DidResume
	NoResume
	Kill
	Update
	Add // an exec
	Exit
	Delete
	DidDelete
	NoDelete
	Swept // everything in the container was killed after init's death
	OOM   // the counter of OOM kills has moved
	verbCount
)

var verbNames = [verbCount]string{
	"create", "start", "started", "start-failed", "pause", "paused", "pause-failed",
	"resume", "resumed", "resume-failed", "kill", "update", "exec", "exit", "delete", "deleted",
	"delete-failed", "swept", "oom",
}

func (v Verb) String() string { return verbNames[v] }

// moves says where a verb leads from a phase; Absent means it may not happen.
type moves [verbCount][phaseCount]Phase

// initMoves is the life of a container's init. Exit keeps Creating and
// Starting as they are: it is held back until the event that must precede
// TaskExit is out.
var initMoves = moves{
	DidCreate: {Creating: Created},
	Start:     {Created: Starting},
	DidStart:  {Starting: Running},
	NoStart:   {Starting: Created},
	Pause:     {Running: Pausing},
	DidPause:  {Pausing: Paused},
	NoPause:   {Pausing: Running},
	Resume:    {Paused: Resuming},
	DidResume: {Resuming: Running},
	NoResume:  {Resuming: Paused},
	Kill: {Created: Created, Starting: Starting, Running: Running, Pausing: Pausing,
		Paused: Paused, Resuming: Resuming},
	Update: {Created: Created, Starting: Starting, Running: Running, Pausing: Pausing,
		Paused: Paused, Resuming: Resuming},
	Exit: {Creating: Creating, Created: Ending, Starting: Starting, Running: Ending,
		Pausing: Ending, Paused: Ending, Resuming: Ending},
	Delete:    {Stopped: Deleting},
	DidDelete: {Deleting: Deleted},
	NoDelete:  {Deleting: Stopped},
	Swept:     {Ending: Ending},
	OOM: {Creating: Creating, Created: Created, Starting: Starting, Running: Running, Pausing: Pausing,
		Paused: Paused, Resuming: Resuming, Ending: Ending},
}

// execMoves is the life of an exec. One whose start failed is over: it had no
// process, so it has no exit to report either.
var execMoves = moves{
	Add:       {Absent: Created},
	Start:     {Created: Starting},
	DidStart:  {Starting: Running},
	NoStart:   {Starting: Stopped},
	Kill:      {Running: Running, Starting: Starting},
	Exit:      {Starting: Starting, Running: Stopped},
	Delete:    {Created: Deleting, Stopped: Deleting},
	DidDelete: {Deleting: Deleted},
	NoDelete:  {Deleting: Stopped},
}

// execNeeds lists what an exec may do only while init is in these phases.
var execNeeds = [verbCount][phaseCount]bool{
	Add:   {Created: true, Starting: true, Running: true},
	Start: {Created: true, Starting: true, Running: true},
}

// ExitStatus is how a process ended.
type ExitStatus struct {
	Status uint32 // exit code, or 128 plus the signal
	Signal int    // that ended it, or 0
	At     time.Time
}

// Proc is what the state machine knows of one process.
type Proc struct {
	Phase Phase
	Pid   int
	Dead  bool // Exit is valid; in Starting: held back until DidStart or NoStart
	Exit  ExitStatus
}

// live reports whether init's TaskExit must wait for this exec.
func (p Proc) live() bool { return p.Phase == Starting || p.Phase == Running }

// State is one container: its init and its execs. It is a value; Step never
// changes the one it was given.
type State struct {
	Init  Proc
	Execs map[string]Proc
	// PrivatePID says that the kernel kills the rest of the container when
	// init dies, because init is pid 1 of a namespace of its own.
	PrivatePID bool
	Sweeps     int    // kills of the rest under way
	OOMs       uint64 // OOM kills already reported
	Pending    uint64 // OOM kills counted
}

// liveExecs is how many execs run, or are about to.
func (s State) liveExecs() (n int) {
	for _, p := range s.Execs {
		if p.live() {
			n++
		}
	}
	return n
}

// Event is what happened, to the exec named or to init.
type Event struct {
	Verb Verb
	Exec string // "" is init
	Pid  int    // DidCreate, DidStart
	Exit ExitStatus
	OOMs uint64 // Exit, OOM: the container's counter of OOM kills as it was read
	Err  error  // No...: why; for the flight record, it decides nothing
}

// Step says what an event does to a container: the next state and the effects
// to be carried out in their order. An event that may not happen now is a
// *TransitionError and leaves the state as it was.
func Step(s State, ev Event) (State, []Effect, error) {
	p, table := s.Init, &initMoves
	if ev.Exec != "" {
		p, table = s.Execs[ev.Exec], &execMoves
		if p.Phase != Absent || ev.Verb == Add {
			if need := execNeeds[ev.Verb]; need != [phaseCount]bool{} && !need[s.Init.Phase] {
				return s, nil, &TransitionError{Verb: ev.Verb, Exec: ev.Exec, From: s.Init.Phase, Container: true}
			}
		}
	}
	to := table[ev.Verb][p.Phase]
	if to == Absent || (ev.Verb == Exit && p.Dead) {
		return s, nil, &TransitionError{Verb: ev.Verb, Exec: ev.Exec, From: p.Phase}
	}
	m := machine{State: s}
	m.enter(p, to, ev)
	return m.State, m.effects, nil
}

// TransitionError says that a verb may not happen in the phase that the
// process, or (Container) the container it belongs to, is in.
type TransitionError struct {
	Verb      Verb
	Exec      string
	From      Phase
	Container bool
}

func (e *TransitionError) Error() string {
	switch {
	case e.Container:
		return fmt.Sprintf("cannot %s in a %s container", e.Verb, e.From)
	case e.From == Absent:
		return fmt.Sprintf("process %q does not exist", e.Exec)
	case e.Verb == Add:
		return fmt.Sprintf("exec %q already exists", e.Exec)
	case e.Verb == Kill && e.Finished():
		return "process already finished"
	}
	return fmt.Sprintf("cannot %s a %s process", e.Verb, e.From)
}

// Finished reports whether the process had ended already.
func (e *TransitionError) Finished() bool { return e.From >= Ending }

// machine is one Step under way.
type machine struct {
	State
	effects []Effect
	cloned  bool
}

func (m *machine) emit(e Effect) { m.effects = append(m.effects, e) }

// set stores a process. The map is copied once, because the caller still owns
// the state it passed in.
func (m *machine) set(exec string, p Proc) {
	if exec == "" {
		m.Init = p
		return
	}
	if !m.cloned {
		m.Execs, m.cloned = maps.Clone(m.Execs), true
	}
	if m.Execs == nil {
		m.Execs = map[string]Proc{}
	}
	m.Execs[exec] = p
	if p.Phase == Deleted {
		delete(m.Execs, exec)
	}
}

func (m *machine) enter(p Proc, to Phase, ev Event) {
	from := p.Phase
	p.Phase = to
	switch ev.Verb {
	case DidCreate, DidStart:
		p.Pid = ev.Pid
	case Exit:
		p.Dead, p.Exit = true, ev.Exit
	}
	m.Pending = max(m.Pending, ev.OOMs)
	if ev.Verb == Swept && m.Sweeps > 0 {
		m.Sweeps--
	}
	m.set(ev.Exec, p)
	m.announce(ev.Verb, ev.Exec, p)
	m.oom()
	m.settle(ev.Exec, from)
}
