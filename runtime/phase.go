// SPDX-License-Identifier: Apache-2.0

package runtime

import "time"

// Phase names a part of Create or Start.
type Phase string

// The phases, in their order. Those that a container has no use for are left
// out.
const (
	PhaseLoad      Phase = "load"      // config.json was read and accepted
	PhaseCgroup    Phase = "cgroup"    // its groups exist, with their limits
	PhasePlan      Phase = "plan"      // the steps are known, the filter is compiled
	PhaseClone     Phase = "clone"     // init's stage lives
	PhaseMounts    Phase = "mounts"    // it has joined its namespaces and made its mounts; without hooks it waits for Start
	PhaseHooks     Phase = "hooks"     // the hooks of Create have run
	PhaseReady     Phase = "ready"     // after hooks: init waits for Start
	PhaseRestore   Phase = "restore"   // criu makes init out of a checkpoint
	PhaseExec      Phase = "exec"      // init executes its program
	PhasePoststart Phase = "poststart" // those hooks have run
)

// stopwatch measures phases, which follow each other without a gap. It belongs
// to whoever is creating or starting the container.
type stopwatch struct {
	tell func(Phase, time.Duration) // nil: nobody asks
	last time.Time
}

func (s *stopwatch) begin() {
	if s.tell != nil {
		s.last = time.Now()
	}
}

// lap ends the phase p, and so begins the next.
func (s *stopwatch) lap(p Phase) {
	if s.tell == nil {
		return
	}
	now := time.Now()
	s.tell(p, now.Sub(s.last))
	s.last = now
}
