// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

var update = flag.Bool("update", false, "rewrite testdata")

// limitCase is one block of testdata/limits.txt: a name, linux.resources, and
// what is written for it on v1 and on v2.
type limitCase struct {
	name, resources, v1, v2 string
}

func (c limitCase) parse(t testing.TB) *specs.LinuxResources {
	t.Helper()
	r := &specs.LinuxResources{}
	if err := json.Unmarshal([]byte(c.resources), r); err != nil {
		t.Fatalf("%s: %v", c.name, err)
	}
	return r
}

func limitCases(t testing.TB) []limitCase {
	t.Helper()
	text, err := os.ReadFile("testdata/limits.txt")
	if err != nil {
		t.Fatal(err)
	}
	var all []limitCase
	for _, block := range strings.Split(string(text), "\n== ")[1:] {
		var c limitCase
		c.name, block, _ = strings.Cut(block, "\n")
		c.resources, block, _ = strings.Cut(block, "\n-- v1\n")
		c.v1, c.v2, _ = strings.Cut(block, "-- v2\n")
		c.v2 = strings.TrimRight(c.v2, "\n") + "\n"
		if c.v2 == "\n" {
			c.v2 = ""
		}
		all = append(all, c)
	}
	return all
}

// written is the golden text of one case.
func written(unified bool, r *specs.LinuxResources) string {
	list, err := settings(unified, r)
	if err != nil {
		return "error: " + err.Error() + "\n"
	}
	var b strings.Builder
	for _, s := range list {
		b.WriteString(s.String())
		if s.alt[0] != "" {
			b.WriteString(" | " + s.alt[0] + " = " + s.alt[1])
		}
		b.WriteString("\n")
	}
	if len(r.Devices) == 0 {
		return b.String()
	}
	rules, err := rulesOf(r.Devices)
	if err != nil {
		return b.String() + "error: " + err.Error() + "\n"
	}
	standard, _ := rulesOf(nil)
	if rules.allow {
		b.WriteString("devices: all but\n")
		standard = ruleset{}
	}
	for _, l := range exceptions(rules, standard) {
		b.WriteString("device " + l + "\n")
	}
	return b.String()
}

func TestSettings(t *testing.T) {
	var out strings.Builder
	out.WriteString("What is written for linux.resources. Made by go test -run TestSettings -update;\nread the difference.\n")
	cases := limitCases(t)
	for _, c := range cases {
		r := c.parse(t)
		got1, got2 := written(false, r), written(true, r)
		out.WriteString("\n== " + c.name + "\n" + c.resources + "\n-- v1\n" + got1 + "-- v2\n" + got2)
		if *update {
			continue
		}
		if got1 != c.v1 {
			t.Errorf("%s: v1:\n%swant:\n%s", c.name, got1, c.v1)
		}
		if got2 != c.v2 {
			t.Errorf("%s: v2:\n%swant:\n%s", c.name, got2, c.v2)
		}
	}
	if len(cases) < 60 {
		t.Errorf("only %d cases", len(cases))
	}
	if *update {
		if err := os.WriteFile("testdata/limits.txt", []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRefused: what runc takes, and nobody can mean.
func TestRefused(t *testing.T) {
	if _, err := settings(true, &specs.LinuxResources{Unified: map[string]string{"cgroup.subtree_control": "+cpu"}}); err == nil ||
		err.Error() != "linux.resources.unified: cgroup.subtree_control is not a limit" {
		t.Errorf("a group that can have no processes: got %v", err)
	}
	for _, number := range []int64{-2, -256} {
		_, err := rulesOf([]specs.LinuxDeviceCgroup{rule("c", 1, 3, "r"), rule("c", 1, number, "r")})
		if want := fmt.Sprintf("linux.resources.devices[1]: number %d is not that of a device, nor -1 for any", number); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
