// SPDX-License-Identifier: Apache-2.0

package seccomp

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// FuzzCompile: whatever a config.json says, Compile ends with a program that
// the kernel takes and that answers as the profile says, or with an error
// that names the property.
func FuzzCompile(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		f.Add([]byte(text(randomProfile(r, shape{ops: operators(), mixed: true}))))
	}
	bad := contradiction()
	f.Add([]byte(text(&bad)))
	f.Fuzz(func(t *testing.T, b []byte) {
		p := &specs.LinuxSeccomp{}
		if json.Unmarshal(b, p) != nil {
			t.Skip()
		}
		native := natives()[len(b)%len(natives())]
		asm, _, err := compile(p, native)
		var pe *ProfileError
		switch {
		case err == nil:
			verify(t, newMachine(asm, native), p, native)
		case !errors.As(err, &pe) || pe.Path == "" || pe.Error() == pe.Path+": ":
			t.Errorf("%v: no property named", err)
		}
	})
}

// verify tries some calls of a program.
func verify(t *testing.T, m machine, p *specs.LinuxSeccomp, native *arch) {
	t.Helper()
	if err := check(m.code); err != nil {
		t.Fatalf("the kernel refuses the program: %v", err)
	}
	tries, r := 0, newReader(p, native)
	each(p, native, func(d data) bool {
		if got, want := m.run(d), r.interpret(d); !slices.Contains(want, got) {
			t.Errorf("%s: %v: got %#x, want %#x\n%s", native.name, d, got, want, calls(p, d))
		}
		tries++
		return !t.Failed() && tries < 2000
	})
}

// FuzzRules looks for rules of one call that get into each other's way.
func FuzzRules(f *testing.F) {
	f.Add(uint64(1), uint64(1), false)
	f.Add(uint64(2), uint64(5), true)
	f.Fuzz(func(t *testing.T, a, b uint64, mixed bool) {
		p := randomProfile(rand.New(rand.NewPCG(a, b)), shape{ops: operators(), mixed: mixed})
		native := natives()[int(a%7)]
		p.Architectures = listFor(native)
		asm, _, err := compile(p, native)
		if err != nil {
			if !mixed {
				t.Errorf("one action contradicts itself: %v", err)
			}
			return
		}
		verify(t, newMachine(asm, native), p, native)
	})
}
