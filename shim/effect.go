// SPDX-License-Identifier: Apache-2.0

package shim

import "fmt"

// EffectKind is something to do after a step.
type EffectKind uint8

// The effects. Publish* queue an event for containerd; none of them blocks.
const (
	PublishCreate EffectKind = iota
	PublishStart
	PublishExit
	PublishOOM
	PublishPaused
	PublishResumed
	PublishDelete
	PublishExecAdded
	PublishExecStarted
	Wake  // answer those who wait for the process
	Sweep // kill whatever is left in the container, then report Swept
	effectCount
)

var effectNames = [effectCount]string{
	"publish create", "publish start", "publish exit", "publish oom", "publish paused",
	"publish resumed", "publish delete", "publish exec-added", "publish exec-started",
	"wake", "sweep",
}

// Effect is one effect, with the process it is about as it is after the step.
type Effect struct {
	Kind EffectKind
	Exec string
	Proc Proc
}

func (e Effect) String() string {
	s := effectNames[e.Kind]
	switch e.Kind {
	case PublishOOM, PublishPaused, PublishResumed, Sweep:
		return s
	}
	s += " " + name(e.Exec)
	switch e.Kind {
	case PublishExit, PublishDelete:
		return fmt.Sprintf("%s pid=%d status=%d", s, e.Proc.Pid, e.Proc.Exit.Status)
	case PublishCreate, PublishStart, PublishExecStarted:
		return fmt.Sprintf("%s pid=%d", s, e.Proc.Pid)
	}
	return s
}

func name(exec string) string {
	if exec == "" {
		return "init"
	}
	return exec
}

// announcements are the events that a verb has by itself.
var announcements = map[Verb]struct{ init, exec EffectKind }{
	DidCreate: {PublishCreate, effectCount},
	DidStart:  {PublishStart, PublishExecStarted},
	DidPause:  {PublishPaused, effectCount},
	DidResume: {PublishResumed, effectCount},
	DidDelete: {PublishDelete, effectCount},
	Add:       {effectCount, PublishExecAdded},
}

// announce publishes what the verb itself is worth.
func (m *machine) announce(v Verb, exec string, p Proc) {
	a, ok := announcements[v]
	kind := a.init
	if exec != "" {
		kind = a.exec
	}
	if ok && kind != effectCount {
		m.emit(Effect{Kind: kind, Exec: exec, Proc: p})
	}
}

// oom reports kills that were counted since the last report. Nothing is said
// about a container before TaskCreate, nor between the request to start it
// and TaskStart.
func (m *machine) oom() {
	if m.Init.Phase == Creating || m.Init.Phase == Starting || m.Pending <= m.OOMs {
		return
	}
	m.OOMs = m.Pending
	m.emit(Effect{Kind: PublishOOM})
}

// settle does what the step made possible: an exit that was held back comes
// out, and init's exit follows when nothing else of the container lives.
func (m *machine) settle(exec string, from Phase) {
	if exec == "" {
		m.settleInit(from)
	} else {
		m.settleExec(exec, from)
	}
	m.end()
}

func (m *machine) settleInit(from Phase) {
	if m.Init.Dead && (m.Init.Phase == Created || m.Init.Phase == Running) {
		m.Init.Phase = Ending // it died while it was being created or started
	}
	if m.Init.Phase == Ending && from != Ending {
		m.sweep()
	}
}

// settleExec lets an exec's exit out once its start was announced. An exec
// that could not be started has none: its process never ran the program.
func (m *machine) settleExec(exec string, from Phase) {
	p := m.Execs[exec]
	if p.Phase == Running && p.Dead {
		p.Phase, from = Stopped, Running
		m.set(exec, p)
	}
	if p.Phase == Stopped && from == Running {
		m.emit(Effect{Kind: PublishExit, Exec: exec, Proc: p})
	}
	if p.Phase >= Stopped && from <= Running {
		m.emit(Effect{Kind: Wake, Exec: exec, Proc: p})
	}
	if p.Phase == Running && m.Init.Phase == Ending {
		m.sweep() // it slipped in between init's death and the sweep
	}
}

// sweep asks for everything else in the container to be killed, unless the
// kernel does that by itself.
func (m *machine) sweep() {
	if !m.PrivatePID {
		m.Sweeps++
		m.emit(Effect{Kind: Sweep})
	}
}

// end publishes init's exit as the last of the container's.
func (m *machine) end() {
	if m.Init.Phase != Ending || m.Sweeps > 0 || m.liveExecs() > 0 {
		return
	}
	m.Init.Phase = Stopped
	m.emit(Effect{Kind: PublishExit, Proc: m.Init})
	m.emit(Effect{Kind: Wake, Proc: m.Init})
}
