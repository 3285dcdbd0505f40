// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"encoding/json"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"foundry/runtime/oci"
)

// TestMutatedSpecs changes a few values of real specs, each to one that is
// plausible somewhere: most pass as JSON, which random bytes do not, and many
// pass package oci.
func TestMutatedSpecs(t *testing.T) {
	rounds := 1000
	if testing.Short() {
		rounds = 300
	}
	trees := seedTrees(t)
	passed := 0
	for seed := range rounds {
		m := mutator{rand.New(rand.NewPCG(1, uint64(seed)))}
		tree := clone(trees[seed%len(trees)])
		for range 1 + m.IntN(4) {
			tree = m.change(tree)
		}
		text, err := json.Marshal(tree)
		if err != nil {
			t.Fatal(err)
		}
		if planMutated(t, text) {
			passed++
		}
		if t.Failed() {
			t.Fatalf("seed %d: %s", seed, text)
		}
	}
	if passed < rounds/20 {
		t.Errorf("%d of %d specs gave a plan: the mutations are too wild to test anything", passed, rounds)
	}
}

func planMutated(t *testing.T, text []byte) bool {
	t.Helper()
	spec, err := oci.Parse(text)
	if err != nil {
		return false
	}
	facts := hybridFacts()
	seccomp(&facts)
	labels(&facts)
	facts.SELinux = true
	exec, err := NewExec(spec, spec.Process, facts)
	if err != nil {
		t.Errorf("exec: %v", err)
		return false
	}
	checkEncodable(t, exec)
	p, err := New(spec, facts)
	if err != nil {
		return false
	}
	checkEncodable(t, p)
	if p.String() == "" {
		t.Error("no text")
	}
	return true
}

// seedTrees are the specs of testdata without their long seccomp profiles.
func seedTrees(t *testing.T) []any {
	t.Helper()
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no specs: %v", err)
	}
	var out []any
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var tree map[string]any
		if err := json.Unmarshal(text, &tree); err != nil {
			t.Fatal(err)
		}
		delete(tree["linux"].(map[string]any), "seccomp")
		out = append(out, tree)
	}
	return out
}

func clone(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[k] = clone(e)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = clone(e)
		}
		return out
	}
	return v
}

type mutator struct{ *rand.Rand }

var strangeStrings = []string{
	"", "/", "/proc", "/proc/self", "/dev", "..", "a", "/a//b/../c", "bind", "rbind", "ro", "rro", "tmpfs", "cgroup", "c", "p", "1.0.2",
	"user", "time", "remount", "idmap", "ridmap", "tmpcopyup", "loop", "rnosuid", "SCHED_FIFO", "SCHED_DEADLINE", "IOPRIO_CLASS_RT", "0-3,7",
	"MPOL_BIND", "MPOL_F_STATIC_NODES", "LINUX32", "monotonic", "unconfined",
	"nul\x00", "rprivate", "A=", "=", "gid=99999999999", "RLIMIT_NOFILE", "CAP_SYS_ADMIN", "shared", "mount", "pid", "é\xff",
}

var strangeNumbers = []float64{0, 1, -1, 511, 4096, 65536, 1 << 31, 1<<32 - 1, 1 << 40, 0.5}

// change walks down a random path and replaces, removes or doubles what is
// there.
func (m mutator) change(v any) any {
	switch v := v.(type) {
	case map[string]any:
		if len(v) == 0 || m.IntN(20) == 0 {
			return m.value()
		}
		keys := slices.Sorted(maps.Keys(v))
		k := keys[m.IntN(len(keys))]
		if m.IntN(20) == 0 {
			delete(v, k)
			return v
		}
		v[k] = m.change(v[k])
		return v
	case []any:
		if len(v) == 0 || m.IntN(20) == 0 {
			return m.value()
		}
		i := m.IntN(len(v))
		switch m.IntN(6) {
		case 0:
			return slices.Delete(v, i, i+1)
		case 1:
			return append(v, clone(v[i]))
		}
		v[i] = m.change(v[i])
		return v
	case string:
		return strangeStrings[m.IntN(len(strangeStrings))]
	case float64:
		return strangeNumbers[m.IntN(len(strangeNumbers))]
	case bool:
		return !v
	}
	return m.value()
}

func (m mutator) value() any {
	switch m.IntN(5) {
	case 0:
		return nil
	case 1:
		return []any{}
	case 2:
		return map[string]any{}
	case 3:
		return strangeStrings[m.IntN(len(strangeStrings))]
	}
	return strangeNumbers[m.IntN(len(strangeNumbers))]
}
