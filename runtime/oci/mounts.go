// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"fmt"
	"path"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// procFiles are the files of /proc that a mount may cover: lxcfs emulates
// them. Anything else there could hide or fake what the kernel says.
var procFiles = map[string]bool{
	"/proc/cpuinfo": true, "/proc/diskstats": true, "/proc/loadavg": true, "/proc/meminfo": true, "/proc/slabinfo": true,
	"/proc/stat": true, "/proc/swaps": true, "/proc/uptime": true,
	"/proc/sys/kernel/ns_last_pid": true, "/proc/sys/crypto/fips_enabled": true,
}

func validateMounts(s *Spec) error {
	for i, m := range s.Mounts {
		at := fmt.Sprintf("mounts[%d]", i)
		if err := validateMount(at, m); err != nil {
			return err
		}
		if err := validateIDMap(at, s, m); err != nil {
			return err
		}
	}
	return nil
}

func validateMount(at string, m specs.Mount) error {
	if m.Destination == "" {
		return invalid(at+".destination", "missing")
	}
	if has(m, "tmpcopyup") && (m.Type != "tmpfs" || IsBind(m)) {
		return invalid(at+".options", `"tmpcopyup" has a meaning for a tmpfs only`)
	}
	return validateDestination(at, m)
}

// validateIDMap checks a mount that shows its files with other owners.
func validateIDMap(at string, s *Spec, m specs.Mount) error {
	if !IsIDMapped(m) {
		return nil
	}
	uids, gids := len(m.UIDMappings) > 0, len(m.GIDMappings) > 0
	switch {
	case !IsBind(m) || has(m, "remount"):
		return invalid(at, "only a new bind mount can be idmapped")
	case uids && !gids:
		return invalid(at+".gidMappings", "missing, and uidMappings go with them")
	case gids && !uids:
		return invalid(at+".uidMappings", "missing, and gidMappings go with them")
	case !uids && !hasNamespace(s, specs.UserNamespace):
		return invalid(at+".options", `an idmapped mount needs uidMappings and gidMappings, or a "user" namespace that has them`)
	}
	if err := CheckMappings(at+".uidMappings", m.UIDMappings); err != nil {
		return err
	}
	return CheckMappings(at+".gidMappings", m.GIDMappings)
}

func validateDestination(at string, m specs.Mount) error {
	// A relative destination counts from the root: deprecated, but runc takes it.
	dest := path.Clean("/" + m.Destination)
	bind := IsBind(m)
	switch {
	case dest == "/":
		return invalid(at+".destination", "%q is the root directory", m.Destination)
	case has(m, "remount"): // of what is there
	case bind && m.Source == "":
		return invalid(at+".source", "missing")
	case !bind && m.Type == "":
		return invalid(at+".type", "missing")
	case dest == "/proc":
		if m.Type != "proc" && !(bind && path.Clean(m.Source) == "/proc") {
			return invalid(at+".destination", "only a file system of type proc, or a bind of /proc, may be mounted on %q", dest)
		}
	case strings.HasPrefix(dest, "/proc/") && !procFiles[dest]:
		return invalid(at+".destination", "%q is inside /proc", dest)
	}
	return nil
}

// IsIDMapped says whether a mount shows its files with other owners: by a map
// of its own, or by an option, which alone means that of the container.
func IsIDMapped(m specs.Mount) bool {
	return len(m.UIDMappings) > 0 || len(m.GIDMappings) > 0 || has(m, "idmap") || has(m, "ridmap")
}

func has(m specs.Mount, option string) bool { return slices.Contains(m.Options, option) }

// IsBind says whether a mount is a bind mount: by its type, or by an option,
// beside which the type means nothing.
func IsBind(m specs.Mount) bool {
	if m.Type == "bind" || m.Type == "rbind" {
		return true
	}
	return has(m, "bind") || has(m, "rbind")
}
