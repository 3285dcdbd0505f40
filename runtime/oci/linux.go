// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"fmt"
	"path"
	"sort"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// validateLinux leaves linux.resources to the cgroup package and
// linux.seccomp to the seccomp package: they know what a kernel takes.
func validateLinux(s *Spec) error {
	l := s.Linux
	if err := refuseLinux(l); err != nil {
		return err
	}
	for _, err := range []error{
		validateNamespaces(l.Namespaces), validateUsers(s), validateTimeOffsets(s), validateDevices(l.Devices),
		validateMemoryPolicy(l.MemoryPolicy), validatePersonality(l.Personality), validateListener(s),
	} {
		if err != nil {
			return err
		}
	}
	switch l.RootfsPropagation {
	case "", "private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable", "runbindable":
	default:
		return invalid("linux.rootfsPropagation", "%q is no propagation mode", l.RootfsPropagation)
	}
	if err := validatePaths("linux.maskedPaths", l.MaskedPaths); err != nil {
		return err
	}
	if err := validatePaths("linux.readonlyPaths", l.ReadonlyPaths); err != nil {
		return err
	}
	return validateSysctls(s)
}

func refuseLinux(l *specs.Linux) error {
	switch {
	case l.IntelRdt != nil:
		return &UnsupportedError{Path: "linux.intelRdt", What: "writing to resctrl is"}
	case len(l.NetDevices) > 0:
		return &UnsupportedError{Path: "linux.netDevices", What: "moving links, which network plugins and createRuntime hooks do, is"}
	}
	return nil
}

// The kernel's dev_t has 12 bits for the major and 20 for the minor number.
const (
	maxMajor = 1<<12 - 1
	maxMinor = 1<<20 - 1
)

func validateDevices(list []specs.LinuxDevice) error {
	for i, d := range list {
		at := fmt.Sprintf("linux.devices[%d]", i)
		if !path.IsAbs(d.Path) {
			return invalid(at+".path", "%q is not absolute", d.Path)
		}
		if path.Clean(d.Path) == "/" {
			return invalid(at+".path", "is the root directory")
		}
		switch d.Type {
		case "c", "b", "u":
			if d.Major < 0 || d.Major > maxMajor {
				return invalid(at+".major", "%d is not between 0 and %d", d.Major, maxMajor)
			}
			if d.Minor < 0 || d.Minor > maxMinor {
				return invalid(at+".minor", "%d is not between 0 and %d", d.Minor, maxMinor)
			}
		case "p":
		default:
			return invalid(at+".type", "%q is none of c, b, u and p", d.Type)
		}
	}
	return nil
}

// validateListener wants a place for what a filter hands over, or the wish for
// the server's own agent: without one the calls it asks about would fail. All else of a profile is for
// package seccomp.
func validateListener(s *Spec) error {
	p := s.Linux.Seccomp
	if p == nil {
		return nil
	}
	own := s.Annotations[AgentAnnotation]
	notify := p.DefaultAction == specs.ActNotify
	for _, call := range p.Syscalls {
		notify = notify || call.Action == specs.ActNotify
	}
	switch {
	case p.ListenerPath == "" && p.ListenerMetadata != "":
		return invalid("linux.seccomp.listenerMetadata", "has no meaning without linux.seccomp.listenerPath")
	case p.ListenerPath == "" && notify && own == "":
		return invalid("linux.seccomp.listenerPath", "missing, and %s needs it, or the annotation %s", specs.ActNotify, AgentAnnotation)
	case notify && p.ListenerPath != "" && !path.IsAbs(p.ListenerPath):
		return invalid("linux.seccomp.listenerPath", "%q is not absolute", p.ListenerPath)
	}
	return nil
}

func validatePaths(at string, list []string) error {
	for i, p := range list {
		if !path.IsAbs(p) {
			return invalid(fmt.Sprintf("%s[%d]", at, i), "%q is not absolute", p)
		}
	}
	return nil
}

// sortedKeys makes the first error of a map the same each time.
func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
