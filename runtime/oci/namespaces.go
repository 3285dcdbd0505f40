// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"fmt"
	"path"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func validateNamespaces(list []specs.LinuxNamespace) error {
	seen := make(map[specs.LinuxNamespaceType]bool, len(list))
	for i, ns := range list {
		at := fmt.Sprintf("linux.namespaces[%d]", i)
		switch ns.Type {
		case specs.PIDNamespace, specs.NetworkNamespace, specs.MountNamespace, specs.IPCNamespace, specs.UTSNamespace,
			specs.CgroupNamespace, specs.UserNamespace, specs.TimeNamespace:
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
		return &UnsupportedError{
			Path: "linux.namespaces", What: `containers without a "mount" namespace are`,
			Why: "their mounts and their root would be the host's own",
		}
	}
	return nil
}

// validateUsers wants both maps for a new user namespace. One that is joined
// has its own; clients say them again all the same, for what they need a map
// for themselves.
func validateUsers(s *Spec) error {
	l := s.Linux
	ns, found := namespace(s, specs.UserNamespace)
	for _, m := range []struct {
		at   string
		list []specs.LinuxIDMapping
	}{{"linux.uidMappings", l.UIDMappings}, {"linux.gidMappings", l.GIDMappings}} {
		switch {
		case len(m.list) > 0 && !found:
			return invalid(m.at, `needs a "user" namespace`)
		case len(m.list) == 0 && found && ns.Path == "":
			return invalid(m.at, `missing, and a new "user" namespace needs it`)
		}
		if err := CheckMappings(m.at, m.list); err != nil {
			return err
		}
		if _, mapped := HostID(m.list, 0); len(m.list) > 0 && !mapped {
			return invalid(m.at, "0 of the container is not mapped, and its root makes the mounts")
		}
	}
	return CheckUser(l, s.Process.User)
}

// CheckUser looks whether a process, of the container or of an exec in it, has
// a user that the container's user namespace knows.
func CheckUser(l *specs.Linux, u specs.User) error {
	if _, ok := HostID(l.UIDMappings, u.UID); !ok {
		return invalid("process.user.uid", "%d is not in linux.uidMappings", u.UID)
	}
	if _, ok := HostID(l.GIDMappings, u.GID); !ok {
		return invalid("process.user.gid", "%d is not in linux.gidMappings", u.GID)
	}
	for i, gid := range u.AdditionalGids {
		if _, ok := HostID(l.GIDMappings, gid); !ok {
			return invalid(fmt.Sprintf("process.user.additionalGids[%d]", i), "%d is not in linux.gidMappings", gid)
		}
	}
	return nil
}

// HostID is what a number of the container is outside of its user namespace.
// Without a map there is no such namespace, or nothing is known of it: then it
// is the same.
func HostID(list []specs.LinuxIDMapping, id uint32) (uint32, bool) {
	for _, m := range list {
		if id >= m.ContainerID && id-m.ContainerID < m.Size {
			return m.HostID + (id - m.ContainerID), true
		}
	}
	return id, len(list) == 0
}

// maxMappings and maxMapText are what the kernel takes at once.
const (
	maxMappings = 340
	maxMapText  = 4096
)

// CheckMappings refuses what the kernel would, and says why.
func CheckMappings(at string, list []specs.LinuxIDMapping) error {
	if len(list) > maxMappings {
		return invalid(at, "%d ranges are more than the %d that the kernel takes", len(list), maxMappings)
	}
	for i, m := range list {
		this := fmt.Sprintf("%s[%d]", at, i)
		switch {
		case m.Size == 0:
			return invalid(this+".size", "is 0")
		case m.ContainerID+m.Size < m.ContainerID:
			return invalid(this+".containerID", "%d and %d more are beyond the last number", m.ContainerID, m.Size)
		case m.HostID+m.Size < m.HostID:
			return invalid(this+".hostID", "%d and %d more are beyond the last number", m.HostID, m.Size)
		}
		for j, other := range list[:i] {
			if overlap(m.ContainerID, other.ContainerID, m.Size, other.Size) {
				return invalid(this+".containerID", "overlaps with that of %s[%d]", at, j)
			}
			if overlap(m.HostID, other.HostID, m.Size, other.Size) {
				return invalid(this+".hostID", "overlaps with that of %s[%d]", at, j)
			}
		}
	}
	if len(MapText(list)) >= maxMapText {
		return invalid(at, "%d ranges are more text than the kernel takes", len(list))
	}
	return nil
}

// overlap says whether two ranges, of sizes that do not wrap around, do.
func overlap(a, b, sizeA, sizeB uint32) bool {
	return a < b+sizeB && b < a+sizeA
}

// MapText is a map as uid_map and gid_map of /proc take it.
func MapText(list []specs.LinuxIDMapping) string {
	var out []byte
	for _, m := range list {
		out = fmt.Appendf(out, "%d %d %d\n", m.ContainerID, m.HostID, m.Size)
	}
	return string(out)
}

func validateTimeOffsets(s *Spec) error {
	ns, found := namespace(s, specs.TimeNamespace)
	for _, clock := range sortedKeys(s.Linux.TimeOffsets) {
		at := fmt.Sprintf("linux.timeOffsets[%q]", clock)
		switch {
		case !found:
			return invalid("linux.timeOffsets", `needs a "time" namespace`)
		case ns.Path != "":
			return invalid("linux.timeOffsets", `the "time" namespace at %q has its own`, ns.Path)
		case clock != "monotonic" && clock != "boottime":
			return invalid(at, `is neither "monotonic" nor "boottime"`)
		case s.Linux.TimeOffsets[clock].Nanosecs >= 1e9:
			return invalid(at+".nanosecs", "%d is a second or more", s.Linux.TimeOffsets[clock].Nanosecs)
		}
	}
	return nil
}

func namespace(s *Spec, kind specs.LinuxNamespaceType) (specs.LinuxNamespace, bool) {
	if s.Linux == nil {
		return specs.LinuxNamespace{}, false
	}
	for _, ns := range s.Linux.Namespaces {
		if ns.Type == kind {
			return ns, true
		}
	}
	return specs.LinuxNamespace{}, false
}

func hasNamespace(s *Spec, kind specs.LinuxNamespaceType) bool {
	_, found := namespace(s, kind)
	return found
}
