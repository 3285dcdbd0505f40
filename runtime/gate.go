// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"slices"
	"sync"
)

// gate lets in many at once, or one alone, in the order in which they came. Who
// waits can give up, which a sync.RWMutex does not know: what is inside may be
// held there by a container for as long as it likes.
type gate struct {
	mu     sync.Mutex // guards what follows
	inside int        // -1: one alone
	queue  []visitor
}

type visitor struct {
	alone    bool
	admitted chan struct{}
}

// enter returns when the caller is in, who calls leave then, or with the cause of the end of ctx.
func (g *gate) enter(ctx context.Context, alone bool) error {
	v := visitor{alone, make(chan struct{})}
	g.mu.Lock()
	g.queue = append(g.queue, v)
	g.admitLocked()
	g.mu.Unlock()
	select {
	case <-v.admitted:
		return nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.Index(g.queue, v)
	if i < 0 { // let in meanwhile
		return nil
	}
	g.queue = slices.Delete(g.queue, i, i+1)
	g.admitLocked()
	return context.Cause(ctx)
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside = max(g.inside-1, 0)
	g.admitLocked()
}

// admitLocked lets in whose turn it is.
// Preconditions: g.mu is held.
func (g *gate) admitLocked() {
	for len(g.queue) > 0 && g.inside >= 0 {
		v := g.queue[0]
		switch {
		case !v.alone:
			g.inside++
		case g.inside == 0:
			g.inside = -1
		default:
			return
		}
		close(v.admitted)
		g.queue = slices.Delete(g.queue, 0, 1)
	}
}
