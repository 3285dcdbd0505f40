// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/cgroups"
	oracle "github.com/opencontainers/cgroups/systemd"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// scopeDiffers names deliberate differences from runc's systemd driver.
var scopeDiffers = map[string]string{
	"memory and no swap":              "runc does not tell systemd of a swap limit of 0, and a daemon-reload lifts it",
	"everything of a pod":             "likewise",
	"everything of a virtual machine": "likewise",
	"cpu quota":                       "the period is told too, or systemd would not know of an earlier one's end",
	"cpu quota none":                  "likewise",
	"cpu quota too small":             "likewise",
}

// TestScopesEqualRunc makes scopes by runc's library and here, and compares the
// files and what systemd believes.
func TestScopesEqualRunc(t *testing.T) {
	info := systemdInfo(t)
	same, unused := 0, maps.Clone(scopeDiffers)
	for _, c := range limitCases(t) {
		if differs[c.name] != "" || strings.HasPrefix(c.name, "devices") {
			continue // systemd hears nothing of devices on v2
		}
		ours, ourErr := Create(Config{Info: info, Path: testSlice() + ":ours:c", Resources: c.parse(t), Hold: sleeper(t)})
		theirs, theirErr := runcScope(t, info, c.parse(t))
		if (ourErr == nil) != (theirErr == nil) {
			t.Errorf("%s: error %v, want like %v", c.name, ourErr, theirErr)
		}
		if ourErr == nil && theirErr == nil {
			same++
			if _, err := ours.apply(ours.hold.pids); err != nil { // as Settled does, but the holder stays
				t.Errorf("%s: %v", c.name, err)
			}
			got, want := limitsOf(ours), limitsOf(theirs)
			eq := true
			for f := range want {
				if got[f] != want[f] {
					eq = false
					if scopeDiffers[c.name] == "" {
						t.Errorf("%s: %s = %q, want %q", c.name, f, got[f], want[f])
					}
				}
			}
			got, want = showAll(t, info, ours.unit.name, "Scope"), showAll(t, info, theirs.unit.name, "Scope")
			for _, p := range limitProperties {
				if got[p] != want[p] {
					eq = false
					if scopeDiffers[c.name] == "" {
						t.Errorf("%s: %s = %q, want %q", c.name, p, got[p], want[p])
					}
				}
			}
			if !eq {
				delete(unused, c.name)
			}
		}
		for _, g := range []*Group{ours, theirs} {
			if g == nil {
				continue
			}
			_ = g.Kill(within(t, 10*time.Second))
			if err := g.Remove(); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("%d cases end in the same files and properties", same)
	for name := range unused {
		t.Errorf("%q does not differ", name)
	}
}

func runcScope(t *testing.T, info Info, r *specs.LinuxResources) (*Group, error) {
	t.Helper()
	res, err := runcResources(r)
	if err != nil {
		return nil, err
	}
	g, err := Open(info, testSlice()+":theirs:c")
	if err != nil {
		return nil, err
	}
	holder, err := sleeper(t)()
	if err != nil {
		return nil, err
	}
	g.hold.release = holder.Release
	cg := &cgroups.Cgroup{Name: "c", Parent: testSlice(), ScopePrefix: "theirs", Resources: res}
	var m cgroups.Manager
	if info.Unified {
		m, err = oracle.NewUnifiedManager(cg, g.v2)
	} else {
		m, err = oracle.NewLegacyManager(cg, nil)
	}
	if err != nil {
		return nil, errors.Join(err, holder.Release())
	}
	if err = m.Apply(holder.Pid); err == nil {
		err = m.Set(res)
	}
	if err != nil {
		_ = holder.Release()
		_ = g.Remove()
		return nil, err
	}
	return g, nil
}
