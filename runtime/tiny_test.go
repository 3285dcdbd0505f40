// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// withMemory is a container with a limit that runs true.
func (w *world) withMemory(id string, limit int64) *specs.Spec {
	spec := w.spec(id, "true")
	spec.Linux.Resources.Memory = &specs.LinuxMemory{Limit: &limit, Swap: &limit}
	return spec
}

// What makes a container is not charged to it: a megabyte is enough for true.
func TestTinyMemory(t *testing.T) {
	w := newWorld(t)
	b := w.create("tiny", w.withMemory("tiny", 1<<20))
	if err := b.Start(ctx(t)); err != nil {
		t.Fatal(err)
	}
	if e := b.wait(); e.Status != 0 {
		t.Errorf("exit %+v, want 0", e)
	}
}

// Too little for anything is an error that says what is too little.
func TestTooLittleMemory(t *testing.T) {
	w := newWorld(t)
	for _, limit := range []int64{1, 1 << 10, 4 << 10, 16 << 10, 64 << 10} {
		b, err := w.tryCreate("dust", w.withMemory("dust", limit))
		if err == nil {
			if err = b.Start(ctx(t)); err == nil {
				b.wait()
			}
			b.Delete(ctx(t))
		}
		t.Logf("%d bytes: %v", limit, err)
		if err != nil && !strings.Contains(err.Error(), "linux.resources.memory.limit") {
			t.Errorf("%d bytes: %v; want the limit named", limit, err)
		}
	}
}
