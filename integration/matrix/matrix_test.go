// SPDX-License-Identifier: Apache-2.0

package matrix

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
)

// tally counts what became of the rows.
type tally struct {
	mu                        sync.Mutex
	same, known, failed, both int
	used                      map[*known]int
	ran                       int
}

func TestMatrix(t *testing.T) {
	h := newHall(t)
	version, err := exec.Command(h.runc, "--version").Output()
	must(t, err)
	t.Logf("against %s", strings.ReplaceAll(strings.TrimSpace(string(version)), "\n", ", "))
	rows := slices.Concat(mixed("process", processRows, processFeatures()), mountMatrix(), execMatrix())
	list := knownDifferences(string(version))
	sum := &tally{used: map[*known]int{}}
	t.Run("rows", func(t *testing.T) {
		for _, r := range rows {
			t.Run(r.name, func(t *testing.T) {
				t.Parallel()
				h.check(t, r, list, sum)
			})
		}
	})
	t.Logf("%d rows: %d same (%d of them fail in both), %d with known differences, %d different", sum.ran, sum.same+sum.both, sum.both, sum.known, sum.failed)
	if sum.ran < len(rows) { // a part was asked for
		return
	}
	for _, k := range list {
		if sum.used[k] == 0 && !k.race {
			t.Errorf("known difference that no row has any more: %q with %s (%s)", k.word, k.line, k.why)
		}
	}
}

// check runs a row by both and compares.
func (h *hall) check(t *testing.T, r row, list []*known, sum *tally) {
	theirs, err := h.by("runc", r, byRunc)
	must(t, err)
	ours, err := h.by("foundry", r, byFoundry)
	must(t, err)
	diff := difference(theirs.lines, ours.lines)
	if (theirs.failed == "") != (ours.failed == "") {
		diff = []string{"+" + failure}
		if theirs.failed != "" {
			diff = []string{"-" + failure}
		}
	}
	rest, uses := explain(r, diff, list)
	sum.add(diff, rest, uses, theirs.failed != "" && ours.failed != "")
	if theirs.failed+ours.failed != "" {
		t.Logf("%s\nrunc: %s\nfoundry: %s", &r, theirs.failed, ours.failed)
	}
	if len(rest) > 0 {
		t.Errorf("%s: runc (-) and Foundry (+) differ:\n%s", &r, strings.Join(rest, "\n"))
	}
}

func (h *hall) by(runtime string, r row, execute func(*run) (result, error)) (result, error) {
	x, err := h.newRun(runtime, r)
	if err != nil {
		return result{}, err
	}
	defer os.RemoveAll(x.dir)
	return execute(x)
}

// explain takes what is known out of diff.
func explain(r row, diff []string, list []*known) (rest []string, uses []*known) {
	for _, line := range diff {
		found := false
		for _, k := range list {
			if (k.word == "" || r.has(k.word)) && k.line.MatchString(line) {
				uses, found = append(uses, k), true
			}
		}
		if !found {
			rest = append(rest, line)
		}
	}
	return rest, uses
}

func (s *tally) add(diff, rest []string, uses []*known, both bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ran++
	for _, k := range uses {
		s.used[k]++
	}
	switch {
	case len(rest) > 0:
		s.failed++
	case len(diff) > 0:
		s.known++
	case both:
		s.both++
	default:
		s.same++
	}
}
