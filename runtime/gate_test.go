// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Many are inside, or one; who gave up keeps nobody waiting.
func TestGate(t *testing.T) {
	var g gate
	var many, alone atomic.Int32
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			for n := range 200 {
				one := (i+n)%7 == 0
				if i%5 == 0 {
					soon, cancel := context.WithTimeout(context.Background(), time.Duration(n)*time.Microsecond)
					err := g.enter(soon, one)
					cancel()
					if err != nil {
						continue
					}
				} else if err := g.enter(context.Background(), one); err != nil {
					t.Error(err)
				}
				if one {
					if alone.Add(1) != 1 || many.Load() != 0 {
						t.Error("not alone")
					}
					alone.Add(-1)
				} else {
					many.Add(1)
					if alone.Load() != 0 {
						t.Error("beside one alone")
					}
					many.Add(-1)
				}
				g.leave()
			}
		})
	}
	all.Wait()
	if g.inside != 0 || len(g.queue) != 0 {
		t.Errorf("left: %d inside, %d in the queue", g.inside, len(g.queue))
	}
}
