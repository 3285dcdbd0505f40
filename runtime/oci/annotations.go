// SPDX-License-Identifier: Apache-2.0

package oci

import "strings"

// annotationPrefix marks the annotations that are ours. All others are passed
// on to hooks and not looked at.
const annotationPrefix = "foundry."

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
		{InitAnnotation, `"true": a reaping pid 1 stays above the program, forwards signals to it and ends with its exit code.`},
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
