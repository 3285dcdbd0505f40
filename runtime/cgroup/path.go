// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"fmt"
	"path"
	"strings"
)

// PathError says why a cgroupsPath cannot be used.
type PathError struct{ Path, Reason string }

func (e *PathError) Error() string { return fmt.Sprintf("cgroup path %q: %s", e.Path, e.Reason) }

// cleanPath turns a cgroupsPath into an absolute path below the mount point of
// each hierarchy. A relative path starts there too: runc starts at the group
// of whoever called it, but a server that outlives its callers and moves into
// a group of its own has no such place that Open would find again.
func cleanPath(p string) (string, error) {
	for _, part := range strings.Split(p, "/") {
		if part == ".." {
			return "", &PathError{p, `must not contain ".."`}
		}
	}
	if strings.ContainsAny(p, "\x00\n") {
		return "", &PathError{p, "must not contain a NUL or a newline"}
	}
	clean := path.Join("/", p)
	if clean == "/" {
		return "", &PathError{p, "is the root of every hierarchy, not a group"}
	}
	return clean, nil
}
