// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// environment is the spec's, with one value for each name and with HOME. Of
// several values the last counts: a C program would take the first, and
// whoever appends to a list means to override.
func environment(p *specs.Process) []string {
	last := make(map[string]int, len(p.Env))
	for i, entry := range p.Env {
		name, _, _ := strings.Cut(entry, "=")
		last[name] = i
	}
	out := make([]string, 0, len(p.Env)+1)
	for i, entry := range p.Env {
		name, value, _ := strings.Cut(entry, "=")
		if last[name] == i && !(name == "HOME" && value == "") {
			out = append(out, entry)
		}
	}
	if lacksHome(p) {
		out = append(out, "HOME=/")
	}
	return out
}

// lacksHome reports whether HOME is to come from the container's /etc/passwd,
// which only the stage can read; what stands in the plan is for users that it
// does not name.
func lacksHome(p *specs.Process) bool { return lookupEnv(p.Env, "HOME") == "" }

// lookupEnv returns the last value of a name.
func lookupEnv(env []string, name string) string {
	for i := len(env) - 1; i >= 0; i-- {
		if value, found := strings.CutPrefix(env[i], name+"="); found {
			return value
		}
	}
	return ""
}
