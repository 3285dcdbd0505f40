// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"testing"

	"foundry/runtime/journal"
	"foundry/runtime/spawn"
)

// An exit is delivered once, whatever comes first: the exit or the arming.
func TestExitIsDeliveredOnce(t *testing.T) {
	for _, order := range []string{"exit first", "armed first"} {
		t.Run(order, func(t *testing.T) {
			r := router{byKey: map[uint64]*child{}}
			c := r.expect(7)
			var got []int
			deliver := func(e spawn.Exit) { got = append(got, e.Status) }
			exit := func() {
				if !r.route(spawn.Exit{Key: 7, Status: 3}) {
					t.Error("nobody expected the exit")
				}
			}
			if order == "exit first" {
				exit()
				c.arm(deliver)
			} else {
				c.arm(deliver)
				exit()
			}
			if len(got) != 1 || got[0] != 3 {
				t.Errorf("got %v, want [3]", got)
			}
			<-c.done
		})
	}
}

// A launch whose caller has gone may have made a process. Its exit is dismissed,
// once, whether it came before or comes after; else its slot would never be free.
func TestExitOfADroppedLaunch(t *testing.T) {
	r := router{byKey: map[uint64]*child{}}
	dismissed := 0
	dismiss := func(spawn.Exit) { dismissed++ }
	early := r.expect(7)
	if !r.route(spawn.Exit{Key: 7}) {
		t.Error("nobody expected the exit")
	}
	r.drop(early, dismiss)
	r.drop(r.expect(8), dismiss)
	if dismissed != 1 {
		t.Errorf("dismissed %d exits, want the early one", dismissed)
	}
	if r.route(spawn.Exit{Key: 8}) { // HandleExit dismisses it
		t.Error("the late exit is expected")
	}
}

func TestRouterKnowsItsOwn(t *testing.T) {
	r := router{byKey: map[uint64]*child{}}
	c := r.expect(7)
	if r.expect(7) != nil {
		t.Error("a key was given twice")
	}
	if r.route(spawn.Exit{Key: 8}) {
		t.Error("an exit of a stranger was routed")
	}
	r.forget(c)
	if r.route(spawn.Exit{Key: 7}) {
		t.Error("an exit of a forgotten child was routed")
	}
	if len(r.byKey) != 0 {
		t.Errorf("left: %v", r.byKey)
	}
}

// The keys of a container are found again by their range, for ever: the range
// is used anew, but neither init's key nor one in use.
func TestKeysWrapAround(t *testing.T) {
	r := router{byKey: map[uint64]*child{}}
	k := newKeys()
	if k.first%journal.KeySpan != 0 {
		t.Fatalf("first key %#x is not at the start of a range", k.first)
	}
	first, second := k.expect(&r), k.expect(&r)
	if first.key != k.first || second.key != k.first+1 {
		t.Fatalf("got keys %#x, %#x", first.key, second.key)
	}
	r.forget(first)
	k.n.Store(journal.KeySpan - 1)
	if got, want := k.expect(&r).key, k.first+journal.KeySpan-1; got != want {
		t.Errorf("last key: got %#x, want %#x", got, want)
	}
	if got, want := k.expect(&r).key, k.first+2; got != want {
		t.Errorf("after the last: got %#x, want %#x", got, want)
	}
}
