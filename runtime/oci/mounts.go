// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"fmt"
	"path"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// refusedOptions are mount options with a meaning that we do not give them
// yet. Options that no table knows belong to the file system; package plan
// passes them on.
var refusedOptions = map[string]bool{
	"tmpcopyup": true, "idmap": true, "ridmap": true, "remount": true, "iversion": true, "noiversion": true,
}

// procFiles are the files of /proc that a mount may cover: lxcfs emulates
// them. Anything else there could hide or fake what the kernel says.
var procFiles = map[string]bool{
	"/proc/cpuinfo": true, "/proc/diskstats": true, "/proc/loadavg": true, "/proc/meminfo": true, "/proc/slabinfo": true,
	"/proc/stat": true, "/proc/swaps": true, "/proc/uptime": true,
	"/proc/sys/kernel/ns_last_pid": true, "/proc/sys/crypto/fips_enabled": true,
}

func validateMounts(s *Spec) error {
	for i, m := range s.Mounts {
		if err := validateMount(fmt.Sprintf("mounts[%d]", i), m); err != nil {
			return err
		}
	}
	return nil
}

func validateMount(at string, m specs.Mount) error {
	if m.Destination == "" {
		return invalid(at+".destination", "missing")
	}
	if len(m.UIDMappings) > 0 {
		return unsupported(at + ".uidMappings")
	}
	if len(m.GIDMappings) > 0 {
		return unsupported(at + ".gidMappings")
	}
	for i, o := range m.Options {
		if refusedOptions[o] {
			return &UnsupportedError{Path: fmt.Sprintf("%s.options[%d]", at, i), What: fmt.Sprintf("%q is", o)}
		}
	}
	return validateDestination(at, m)
}

func validateDestination(at string, m specs.Mount) error {
	// A relative destination counts from the root: deprecated, but runc takes it.
	dest := path.Clean("/" + m.Destination)
	bind := IsBind(m)
	switch {
	case dest == "/":
		return invalid(at+".destination", "%q is the root directory", m.Destination)
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

// IsBind says whether a mount is a bind mount: by its type, or by an option,
// beside which the type means nothing.
func IsBind(m specs.Mount) bool {
	if m.Type == "bind" || m.Type == "rbind" {
		return true
	}
	for _, o := range m.Options {
		if o == "bind" || o == "rbind" {
			return true
		}
	}
	return false
}
