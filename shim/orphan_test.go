// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

type audience struct{ gone atomic.Bool }

func (a *audience) Abandoned() bool { return a.gone.Load() }

// An exec is orphaned when its client has been away for the whole time at a
// stretch; an exec that ends is let alone.
func TestEndOrphan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder // written to by a goroutine that is waited for
		logged := func() int {
			synctest.Wait()
			return strings.Count(log.String(), "exec without a client")
		}
		c := &container{opts: options{ExecOrphan: 8 * time.Second}, log: slog.New(slog.NewTextHandler(&log, nil))}
		p := &process{id: "e", done: make(chan struct{})}
		a := &audience{}
		over := make(chan struct{})
		go func() { c.endOrphan(p, a); close(over) }()
		for range 3 { // it comes back each time
			a.gone.Store(true)
			time.Sleep(6 * time.Second)
			a.gone.Store(false)
			time.Sleep(2 * time.Second)
		}
		if logged() != 0 {
			t.Error("orphaned although its client came back")
		}
		a.gone.Store(true)
		time.Sleep(10 * time.Second)
		if logged() != 1 {
			t.Error("not orphaned")
		}
		close(p.done)
		<-over
		p = &process{id: "f", done: make(chan struct{})}
		close(p.done)
		c.endOrphan(p, a) // returns
	})
}
