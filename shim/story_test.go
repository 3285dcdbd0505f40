// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite testdata/*.txt with what Step does today")

// TestStories runs every testdata/*.txt: events above the dashes, what they
// lead to below. "container" begins a new one; "container shared" is one whose
// init has no pid namespace of its own.
func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("stories: %v, %v", files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := retell(t, string(text))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != string(text) {
				t.Errorf("%s: got\n%s\nwant\n%s", file, got, text)
			}
		})
	}
}

// retell runs the blocks of a story and returns it with what really happened.
func retell(t *testing.T, text string) string {
	t.Helper()
	var out []string
	var s State
	for _, block := range strings.Split(strings.TrimRight(text, "\n"), "\n\n") {
		input, _, isBlock := strings.Cut(block, "\n----")
		if !isBlock {
			out = append(out, block)
			continue
		}
		var told []string
		for _, line := range strings.Split(input, "\n") {
			if !strings.HasPrefix(line, "#") {
				told = append(told, tell(t, &s, line)...)
			}
		}
		out = append(out, input+"\n----\n"+strings.Join(append(told, "= "+describe(s)), "\n"))
	}
	return strings.Join(out, "\n\n") + "\n"
}

func tell(t *testing.T, s *State, line string) []string {
	t.Helper()
	words := strings.Fields(line)
	if words[0] == "container" {
		*s = State{Init: Proc{Phase: Creating}, PrivatePID: !slices.Contains(words, "shared")}
		return nil
	}
	ev := parseEvent(t, words)
	before := describe(*s)
	next, effects, err := Step(*s, ev)
	if after := describe(*s); after != before {
		t.Errorf("%s: Step changed the state it was given: got %s, want %s", line, after, before)
	}
	if err != nil {
		var te *TransitionError
		if !errors.As(err, &te) || describe(next) != before {
			t.Errorf("%s: refused with %v and state %s", line, err, describe(next))
		}
		return []string{"error: " + err.Error()}
	}
	*s = next
	var told []string
	for _, e := range effects {
		told = append(told, e.String())
	}
	return told
}

func parseEvent(t *testing.T, words []string) Event {
	t.Helper()
	verb := slices.Index(verbNames[:], words[0])
	if verb < 0 {
		t.Fatalf("no such verb: %q", words)
	}
	ev := Event{Verb: Verb(verb)}
	for _, w := range words[1:] {
		key, value, isPair := strings.Cut(w, "=")
		n, err := strconv.Atoi(value)
		if isPair && err != nil {
			t.Fatalf("%q: %v", words, err)
		}
		switch key {
		case "pid":
			ev.Pid = n
		case "status":
			ev.Exit.Status = uint32(n)
		case "ooms":
			ev.OOMs = uint64(n)
		case "init":
		default:
			ev.Exec = key
		}
	}
	return ev
}

func describe(s State) string {
	d := "init " + describeProc(s.Init)
	var execs []string
	for id, p := range s.Execs {
		execs = append(execs, ", "+id+" "+describeProc(p))
	}
	slices.Sort(execs)
	d += strings.Join(execs, "")
	if s.Sweeps > 0 {
		d += fmt.Sprintf(", sweeps %d", s.Sweeps)
	}
	return d
}

func describeProc(p Proc) string {
	if p.Dead && p.Phase < Ending {
		return p.Phase.String() + "+dead"
	}
	return p.Phase.String()
}
