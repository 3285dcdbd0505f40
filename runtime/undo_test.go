// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"errors"
	"strings"
	"testing"
)

func TestUnwind(t *testing.T) {
	var trace []string
	fail := map[string]error{}
	step := func(name string) func(context.Context) error {
		return func(context.Context) error {
			trace = append(trace, name)
			return fail[name]
		}
	}
	var s undoStack
	s.pushLast("journal", step("journal"))
	s.push("cgroup", step("cgroup"))
	s.push("init", step("init"))

	busy, stuck := errors.New("busy"), errors.New("stuck")
	fail["cgroup"], fail["init"] = busy, stuck
	err := s.unwind(t.Context())
	if !errors.Is(err, busy) || !errors.Is(err, stuck) {
		t.Errorf("got %v, want both errors", err)
	}
	if got, want := strings.Join(trace, " "), "init cgroup"; got != want {
		t.Errorf("first: got %q, want %q: last first, and the journal stays", got, want)
	}

	trace = nil
	delete(fail, "init")
	if err := s.unwind(t.Context()); !errors.Is(err, busy) || errors.Is(err, stuck) {
		t.Errorf("second: got %v, want busy alone", err)
	}
	trace, fail = nil, nil
	if err := s.unwind(t.Context()); err != nil {
		t.Error(err)
	}
	if got, want := strings.Join(trace, " "), "cgroup journal"; got != want {
		t.Errorf("third: got %q, want %q: only what failed is tried again", got, want)
	}
	trace = nil
	if err := s.unwind(t.Context()); err != nil || trace != nil {
		t.Errorf("fourth: got %v, %v; want nothing", trace, err)
	}
}
