// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"fmt"
	"strings"
)

// unit is what a cgroupsPath in systemd's syntax, slice:prefix:name, asks for:
// the scope prefix-name.scope in a slice. The zero value is a path that
// systemd has nothing to do with.
type unit struct{ name, slice string }

// isUnit tells the two syntaxes of a cgroupsPath apart, by the path alone.
func isUnit(path string) bool {
	return !strings.HasPrefix(path, "/") && strings.Count(path, ":") == 2
}

// parseUnit takes a path that isUnit. As in runc, no slice is system.slice,
// and the dash is there without a prefix too.
func parseUnit(path string) (unit, error) {
	part := strings.Split(path, ":")
	u := unit{name: part[1] + "-" + part[2] + ".scope", slice: part[0]}
	if u.slice == "" {
		u.slice = "system.slice"
	}
	if _, err := expandSlice(u.slice); err != nil {
		return unit{}, &PathError{path, err.Error()}
	}
	switch {
	case part[2] == "":
		return unit{}, &PathError{path, "needs a name after the second colon"}
	case strings.HasSuffix(part[2], ".slice"):
		return unit{}, &PathError{path, "names a slice, which cannot have processes of its own: the name must be that of a scope"}
	case len(u.name) > 255:
		return unit{}, &PathError{path, fmt.Sprintf("makes a unit name of %d bytes; systemd takes 255", len(u.name))}
	}
	for _, c := range []byte(u.name) {
		if !isUnitByte(c) {
			return unit{}, &PathError{path, fmt.Sprintf(`must not contain %q: a unit name is made of letters, digits and :_.-@\`, c)}
		}
	}
	return u, nil
}

func isUnitByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte(`:_.-@\`, c) >= 0
}

// path is where systemd puts the unit, below each mount point.
func (u unit) path() string {
	dir, _ := expandSlice(u.slice) // parseUnit has tried
	return dir + "/" + u.name
}

// expandSlice follows systemd's naming: user-1000.slice is below user.slice,
// and -.slice is the root.
func expandSlice(slice string) (string, error) {
	name, ok := strings.CutSuffix(slice, ".slice")
	switch {
	case !ok || name == "":
		return "", fmt.Errorf("%q is no slice, like system.slice", slice)
	case name == "-":
		return "", nil
	}
	path, prefix := "", ""
	for part := range strings.SplitSeq(name, "-") {
		if part == "" {
			return "", fmt.Errorf("slice %q has an empty part between dashes", slice)
		}
		for _, c := range []byte(part) {
			if !isUnitByte(c) {
				return "", fmt.Errorf("slice %q must not contain %q", slice, c)
			}
		}
		prefix += part
		path += "/" + prefix + ".slice"
		prefix += "-"
	}
	return path, nil
}
