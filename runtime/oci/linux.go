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
	if err := validateNamespaces(l.Namespaces); err != nil {
		return err
	}
	if err := validateDevices(l.Devices); err != nil {
		return err
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
	case len(l.UIDMappings) > 0:
		return unsupported("linux.uidMappings")
	case len(l.GIDMappings) > 0:
		return unsupported("linux.gidMappings")
	case l.IntelRdt != nil:
		return unsupported("linux.intelRdt")
	case l.Personality != nil:
		return unsupported("linux.personality")
	case len(l.TimeOffsets) > 0:
		return unsupported("linux.timeOffsets")
	case l.MemoryPolicy != nil:
		return unsupported("linux.memoryPolicy")
	case len(l.NetDevices) > 0:
		return unsupported("linux.netDevices")
	case l.MountLabel != "":
		return unsupported("linux.mountLabel")
	}
	return nil
}

func validateNamespaces(list []specs.LinuxNamespace) error {
	seen := make(map[specs.LinuxNamespaceType]bool, len(list))
	for i, ns := range list {
		at := fmt.Sprintf("linux.namespaces[%d]", i)
		switch ns.Type {
		case specs.PIDNamespace, specs.NetworkNamespace, specs.MountNamespace, specs.IPCNamespace, specs.UTSNamespace, specs.CgroupNamespace:
		case specs.UserNamespace, specs.TimeNamespace:
			return &UnsupportedError{Path: at + ".type", What: fmt.Sprintf("%q namespaces are", ns.Type)}
		default:
			return invalid(at+".type", "%q is no namespace type", ns.Type)
		}
		if seen[ns.Type] {
			return invalid(at+".type", "%q is given twice", ns.Type)
		}
		if ns.Path != "" && !path.IsAbs(ns.Path) {
			return invalid(at+".path", "%q is not absolute", ns.Path)
		}
		seen[ns.Type] = true
	}
	if !seen[specs.MountNamespace] {
		// Without it, every mount and the pivot would happen to the host.
		return &UnsupportedError{Path: "linux.namespaces", What: `containers without a "mount" namespace are`}
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
