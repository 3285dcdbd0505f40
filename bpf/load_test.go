// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"testing"

	"github.com/cilium/ebpf"

	"foundry/integration/env"
)

// budget is what the verifier may look at for one program, in instructions.
// The kernel gives up at a million; a jump far below that means a loop that
// has lost its bound, or a branch that multiplies states.
const budget = 250_000

func TestVerifierBudget(t *testing.T) {
	env.RequireRoot(t)
	for _, load := range []func() (*ebpf.CollectionSpec, error){LoadTC, LoadXDP} {
		spec, err := load()
		if err != nil {
			t.Fatal(err)
		}
		coll := newCollection(t, spec)
		for name, p := range coll.Programs {
			info, err := p.Info()
			if err != nil {
				t.Fatal(err)
			}
			seen, _ := info.VerifiedInstructions()
			insns, _ := info.TranslatedSize()
			t.Logf("%s: %d instructions, the verifier looked at %d", name, insns/8, seen)
			if seen > budget {
				t.Errorf("%s: got %d instructions verified, want at most %d", name, seen, budget)
			}
		}
	}
}

// newCollection loads programs onto maps of their own.
func newCollection(t testing.TB, spec *ebpf.CollectionSpec) *ebpf.Collection {
	t.Helper()
	coll, err := ebpf.NewCollection(spec)
	var v *ebpf.VerifierError
	if errors.As(err, &v) {
		t.Fatalf("%+v", v)
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(coll.Close)
	return coll
}

func TestNames(t *testing.T) {
	spec, err := LoadTC()
	if err != nil {
		t.Fatal(err)
	}
	n, err := ReadNames(spec)
	if err != nil {
		t.Fatal(err)
	}
	if got := n.Reasons[TCReasonREASON_ARP_REPLY]; got != "arp_reply" {
		t.Errorf("name of a reason: got %q, want %q", got, "arp_reply")
	}
	if got := n.Actions[TCActionACT_DROP]; got != "drop" {
		t.Errorf("name of an action: got %q, want %q", got, "drop")
	}
	if len(n.Reasons) > ReasonSlots {
		t.Errorf("%d reasons, but room for %d counters", len(n.Reasons), ReasonSlots)
	}
}
