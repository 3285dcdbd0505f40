// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"fmt"
	"slices"
	"strings"
)

// annotationPrefix marks the annotations that are ours. All others are passed
// on to hooks and not looked at.
const annotationPrefix = "foundry."

// AgentAnnotation asks for the server's own seccomp agent where a profile has
// SCMP_ACT_NOTIFY and no listenerPath.
const AgentAnnotation = "foundry.seccomp.agent"

// ExitAnnotation says when a container ends: with its program, or with the
// last of its processes.
const ExitAnnotation = "foundry.exit"

// InitAnnotation asks for pid 1 to stay as a reaper above the program.
const InitAnnotation = "foundry.init"

// Annotation is one that changes what Foundry does.
type Annotation struct {
	Name string
	Doc  string // one line for users
}

// Annotations returns those that Foundry knows, sorted by name.
func Annotations() []Annotation {
	return []Annotation{
		{"foundry.exec.orphan", "As the option `ExecOrphanTimeout`, in seconds."},
		{ExitAnnotation, "`main` (the default): the container ends when its program does. `descendants`: when the last of its processes does, so that a " +
			"program may put itself into the background; the exit code is the program's, and signals go to all once it has ended. A reaping pid 1 is above them."},
		{InitAnnotation, "`true` or `false`: a reaping pid 1 stays above the program, forwards signals to it and ends with its exit code."},
		{"foundry.log.loss", "As the option `LogLoss`: `absent`, `never` or `full`."},
		{"foundry.log.mark", "As the option `LogMark`: `true` or `false`."},
		{"foundry.log.ring", "As the option `LogRing`, in bytes."},
		{AgentAnnotation, "`log` or `deny`: what the runtime's own agent does with the system calls that a seccomp profile wants to notify of."},
	}
}

// UnknownAnnotations returns the names that begin like ours and are not known,
// sorted: most likely misspelt. The specification wants them to be no error.
func UnknownAnnotations(s *Spec) []string {
	known := make(map[string]bool)
	for _, a := range Annotations() {
		known[a.Name] = true
	}
	var out []string
	for _, name := range sortedKeys(s.Annotations) {
		if strings.HasPrefix(name, annotationPrefix) && !known[name] {
			out = append(out, name)
		}
	}
	return out
}

// validateAnnotations refuses values that would be taken for the default: who
// writes "yes" for a reaping pid 1 is not to find out by its zombies.
func validateAnnotations(s *Spec) error {
	for _, a := range []struct {
		name  string
		known []string
	}{{InitAnnotation, []string{"true", "false"}}, {AgentAnnotation, []string{"log", "deny"}}} {
		if value, ok := s.Annotations[a.name]; ok && !slices.Contains(a.known, value) {
			return invalid(fmt.Sprintf("annotations[%q]", a.name), "%q is neither %s nor %s", value, a.known[0], a.known[1])
		}
	}
	return nil
}
