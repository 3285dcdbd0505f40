// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"fmt"
	"path"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Validate checks a spec that did not come from [Parse], for example one that
// a caller has changed since.
func Validate(s *Spec) error {
	checks := []func(*Spec) error{
		validateVersion, validatePlatform, validateRoot, validateInit, validateMounts, validateHooks, validateLinux, validateNames, validateAnnotations,
	}
	for _, check := range checks {
		if err := check(s); err != nil {
			return err
		}
	}
	return nil
}

// validateVersion takes every 1.x: the specification promises that a later
// minor version only adds properties, and those we ignore or refuse by name.
func validateVersion(s *Spec) error {
	if s.Version == "" {
		return invalid("ociVersion", "missing")
	}
	core, _, _ := strings.Cut(s.Version, "-")
	core, _, _ = strings.Cut(core, "+")
	parts := strings.Split(core, ".")
	if len(parts) != 3 {
		return invalid("ociVersion", "%q is no semantic version", s.Version)
	}
	for _, part := range parts {
		if _, err := strconv.ParseUint(part, 10, 32); err != nil {
			return invalid("ociVersion", "%q is no semantic version", s.Version)
		}
	}
	if parts[0] != "1" {
		return &UnsupportedError{Path: "ociVersion", What: fmt.Sprintf("version %q is", s.Version)}
	}
	return nil
}

// validatePlatform refuses the sections of other platforms: whoever wrote one
// expects an isolation that a Linux container does not give.
func validatePlatform(s *Spec) error {
	switch {
	case s.Windows != nil:
		return unsupported("windows")
	case s.VM != nil:
		return unsupported("vm")
	case s.Solaris != nil:
		return unsupported("solaris")
	case s.ZOS != nil:
		return unsupported("zos")
	case s.FreeBSD != nil:
		return unsupported("freebsd")
	case s.Linux == nil:
		return invalid("linux", "missing")
	}
	return nil
}

func validateRoot(s *Spec) error {
	if s.Root == nil {
		return invalid("root", "missing")
	}
	if s.Root.Path == "" {
		return invalid("root.path", "missing")
	}
	return nil
}

func validateInit(s *Spec) error {
	if s.Process == nil {
		return invalid("process", "missing")
	}
	return validateProcess(s.Process)
}

func validateHooks(s *Spec) error {
	if s.Hooks == nil {
		return nil
	}
	kinds := []struct {
		name  string
		hooks []specs.Hook
	}{
		{"prestart", s.Hooks.Prestart}, //nolint:staticcheck // deprecated, but containers still have them
		{"createRuntime", s.Hooks.CreateRuntime},
		{"createContainer", s.Hooks.CreateContainer},
		{"startContainer", s.Hooks.StartContainer},
		{"poststart", s.Hooks.Poststart},
		{"poststop", s.Hooks.Poststop},
	}
	for _, kind := range kinds {
		for i, h := range kind.hooks {
			at := fmt.Sprintf("hooks.%s[%d]", kind.name, i)
			if !path.IsAbs(h.Path) {
				return invalid(at+".path", "%q is not absolute", h.Path)
			}
			if h.Timeout != nil && *h.Timeout <= 0 {
				return invalid(at+".timeout", "%d is not greater than zero", *h.Timeout)
			}
		}
	}
	return nil
}

// validateNames checks what belongs to the UTS namespace: without one of its
// own, the container would rename the host.
func validateNames(s *Spec) error {
	if hasNamespace(s, specs.UTSNamespace) {
		return nil
	}
	if s.Hostname != "" {
		return invalid("hostname", `needs a "uts" namespace`)
	}
	if s.Domainname != "" {
		return invalid("domainname", `needs a "uts" namespace`)
	}
	return nil
}
