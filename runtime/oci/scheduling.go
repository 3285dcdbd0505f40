// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"fmt"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// What kernels know at most, and the spawner takes.
const (
	maxCPUs  = 8192
	maxNodes = 1024
)

// validateScheduler leaves to the kernel what only that knows: whether it has
// the policy, and whether a deadline can be kept.
func validateScheduler(s *specs.Scheduler) error {
	if s == nil {
		return nil
	}
	priority := s.Policy == specs.SchedFIFO || s.Policy == specs.SchedRR
	switch {
	case s.Policy == "":
		return invalid("process.scheduler.policy", "missing")
	case s.Policy == specs.SchedISO:
		return &UnsupportedError{Path: "process.scheduler.policy", What: fmt.Sprintf("%q is", s.Policy), Why: "Linux never had it"}
	case !policies[s.Policy]:
		return invalid("process.scheduler.policy", "%q is no scheduling policy", s.Policy)
	case s.Nice < -20 || s.Nice > 19:
		return invalid("process.scheduler.nice", "%d is not between -20 and 19", s.Nice)
	case s.Priority != 0 && !priority:
		return invalid("process.scheduler.priority", "has no meaning for %q", s.Policy)
	case s.Priority < 0 || s.Priority > 99:
		return invalid("process.scheduler.priority", "%d is not between 0 and 99", s.Priority)
	case s.Policy != specs.SchedDeadline && (s.Runtime != 0 || s.Deadline != 0 || s.Period != 0):
		return invalid("process.scheduler", "runtime, deadline and period have no meaning for %q", s.Policy)
	}
	for i, f := range s.Flags {
		if !schedulerFlags[f] {
			return invalid(fmt.Sprintf("process.scheduler.flags[%d]", i), "%q is no flag of a scheduler", f)
		}
	}
	return nil
}

// policies and schedulerFlags have their numbers in package plan.
var policies = map[specs.LinuxSchedulerPolicy]bool{
	specs.SchedOther: true, specs.SchedFIFO: true, specs.SchedRR: true, specs.SchedBatch: true, specs.SchedIdle: true, specs.SchedDeadline: true,
}

var schedulerFlags = map[specs.LinuxSchedulerFlag]bool{
	specs.SchedFlagResetOnFork: true, specs.SchedFlagReclaim: true, specs.SchedFlagDLOverrun: true, specs.SchedFlagKeepPolicy: true,
	specs.SchedFlagKeepParams: true, specs.SchedFlagUtilClampMin: true, specs.SchedFlagUtilClampMax: true,
}

func validateIOPriority(p *specs.LinuxIOPriority) error {
	if p == nil {
		return nil
	}
	switch p.Class {
	case specs.IOPRIO_CLASS_RT, specs.IOPRIO_CLASS_BE, specs.IOPRIO_CLASS_IDLE:
	default:
		return invalid("process.ioPriority.class", "%q is no class of I/O priorities", p.Class)
	}
	if p.Priority < 0 || p.Priority > 7 {
		return invalid("process.ioPriority.priority", "%d is not between 0 and 7", p.Priority)
	}
	return nil
}

func validateAffinity(a *specs.CPUAffinity) error {
	if a == nil {
		return nil
	}
	for _, list := range []struct{ at, text string }{{"initial", a.Initial}, {"final", a.Final}} {
		if list.text == "" {
			continue
		}
		if _, err := CPUMask(list.text); err != nil {
			return invalid("process.execCPUAffinity."+list.at, "%v", err)
		}
	}
	return nil
}

// validateMemoryPolicy leaves to the kernel which modes go with which nodes
// and flags: versions differ.
func validateMemoryPolicy(p *specs.LinuxMemoryPolicy) error {
	if p == nil {
		return nil
	}
	switch p.Mode {
	case specs.MpolDefault, specs.MpolBind, specs.MpolInterleave, specs.MpolWeightedInterleave, specs.MpolPreferred,
		specs.MpolPreferredMany, specs.MpolLocal:
	case "":
		return invalid("linux.memoryPolicy.mode", "missing")
	default:
		return invalid("linux.memoryPolicy.mode", "%q is no memory policy", p.Mode)
	}
	for i, f := range p.Flags {
		switch f {
		case specs.MpolFNumaBalancing, specs.MpolFRelativeNodes, specs.MpolFStaticNodes:
		default:
			return invalid(fmt.Sprintf("linux.memoryPolicy.flags[%d]", i), "%q is no flag of a memory policy", f)
		}
	}
	if p.Nodes == "" {
		return nil
	}
	if _, err := NodeMask(p.Nodes); err != nil {
		return invalid("linux.memoryPolicy.nodes", "%v", err)
	}
	return nil
}

func validatePersonality(p *specs.LinuxPersonality) error {
	switch {
	case p == nil:
		return nil
	case p.Domain != specs.PerLinux && p.Domain != specs.PerLinux32:
		return invalid("linux.personality.domain", "%q is neither LINUX nor LINUX32", p.Domain)
	case len(p.Flags) > 0:
		return invalid("linux.personality.flags[0]", "%q is no flag: the specification has none", p.Flags[0])
	}
	return nil
}

// CPUMask turns a list of CPUs like "0-3,7" into a little-endian bit mask of
// whole 64-bit words.
func CPUMask(list string) ([]byte, error) { return bitMask(list, maxCPUs) }

// NodeMask is CPUMask for memory nodes.
func NodeMask(list string) ([]byte, error) { return bitMask(list, maxNodes) }

func bitMask(list string, limit uint64) ([]byte, error) {
	var mask []byte
	for _, part := range strings.Split(list, ",") {
		low, high, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			high = low
		}
		first, err := strconv.ParseUint(low, 10, 32)
		last, err2 := strconv.ParseUint(high, 10, 32)
		switch {
		case err != nil || err2 != nil || first > last:
			return nil, fmt.Errorf("%q is no list like 0-3,7", list)
		case last >= limit:
			return nil, fmt.Errorf("%d is beyond the %d that can be", last, limit)
		}
		for n := first; n <= last; n++ {
			for uint64(len(mask))*8 <= n {
				mask = append(mask, make([]byte, 8)...)
			}
			mask[n/8] |= 1 << (n % 8)
		}
	}
	return mask, nil
}
