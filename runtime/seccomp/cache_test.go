// SPDX-License-Identifier: Apache-2.0

package seccomp

import (
	"bytes"
	"fmt"
	"sync"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// deny is a small profile of its own for each number.
func deny(n int) *specs.LinuxSeccomp {
	errno := uint(n%4000 + 1)
	return &specs.LinuxSeccomp{
		DefaultAction: specs.ActAllow,
		Syscalls:      []specs.LinuxSyscall{{Names: []string{"acct"}, Action: specs.ActErrno, ErrnoRet: &errno}},
	}
}

func TestDigest(t *testing.T) {
	if got, want := Digest(deny(1)), Digest(deny(1)); got != want {
		t.Errorf("equal profiles: got %q, want %q", got, want)
	}
	if Digest(deny(1)) == Digest(deny(2)) {
		t.Error("different errno, equal digest")
	}
	// No flags at all is SPEC_ALLOW, an empty list is none.
	none, empty := deny(1), deny(1)
	empty.Flags = []specs.LinuxSeccompFlag{}
	if Digest(none) == Digest(empty) {
		t.Error("no flags and an empty list of flags have equal digests")
	}
}

func TestCacheReturnsTheSameFilter(t *testing.T) {
	var c Cache
	first, err := c.Compile(deny(1))
	if err != nil {
		t.Fatal(err)
	}
	second, err := c.Compile(deny(1))
	if err != nil {
		t.Fatal(err)
	}
	if &first.Prog[0] != &second.Prog[0] {
		t.Error("compiled twice")
	}
	if got, want := first.Digest, Digest(deny(1)); got != want {
		t.Errorf("digest: got %q, want %q", got, want)
	}
}

func TestCacheWithoutProfile(t *testing.T) {
	var c Cache
	for _, p := range []*specs.LinuxSeccomp{nil, {}} {
		if f, err := c.Compile(p); err != nil || f.Prog != nil {
			t.Errorf("%v: got %d bytes and %v, want no filter", p, len(f.Prog), err)
		}
	}
}

func TestCacheIsBounded(t *testing.T) {
	c := Cache{Size: 3}
	keep, err := c.Compile(deny(0))
	if err != nil {
		t.Fatal(err)
	}
	for i := 1; i < 20; i++ {
		if _, err := c.Compile(deny(i)); err != nil {
			t.Fatal(err)
		}
		again, err := c.Compile(deny(0))
		if err != nil {
			t.Fatal(err)
		}
		if &again.Prog[0] != &keep.Prog[0] {
			t.Fatalf("the filter used last was evicted at %d", i)
		}
	}
	if got, want := len(c.entries), 3; got != want {
		t.Errorf("entries: got %d, want %d", got, want)
	}
}

func TestCacheForgetsErrors(t *testing.T) {
	c := Cache{Size: 2}
	bad := &specs.LinuxSeccomp{DefaultAction: "SCMP_ACT_GUESS"}
	for range 3 {
		if _, err := c.Compile(bad); err == nil {
			t.Fatal("got no error")
		}
	}
	if got, want := len(c.entries), 0; got != want {
		t.Errorf("entries: got %d, want %d", got, want)
	}
}

func TestCacheConcurrently(t *testing.T) {
	c := Cache{Size: 4}
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for j := range 50 {
				p := deny((i + j) % 8)
				f, err := c.Compile(p)
				if err != nil {
					t.Error(err)
					return
				}
				want, err := Compile(p)
				if err != nil || !bytes.Equal(f.Prog, want.Prog) {
					t.Errorf("profile %d: wrong filter, %v", (i+j)%8, err)
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkCompile(b *testing.B) {
	for name, p := range containerdProfiles() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Compile(p); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("%s/cached", name), func(b *testing.B) {
			var c Cache
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Compile(p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
