// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"

	"foundry/shim/metric"
)

// counts is what a service counts; what others count is read from them when
// somebody asks. See metrics.go for how it is shown.
type counts struct {
	calls map[string]*[codeCount]atomic.Pointer[metric.Histogram] // by method; the map never changes

	requests                                           atomic.Uint64
	created, failed, undeleted, exits, execExits, ooms atomic.Uint64
}

// codeCount is the number of the codes of gRPC.
const codeCount = int(codes.Unauthenticated) + 1

func newCounts() *counts {
	c := &counts{calls: make(map[string]*[codeCount]atomic.Pointer[metric.Histogram], len(bounds))}
	for name := range bounds {
		c.calls[name] = &[codeCount]atomic.Pointer[metric.Histogram]{}
	}
	return c
}

// observe counts a call. Most codes never come: a histogram is made for those
// that do.
func (c *counts) observe(method string, code codes.Code, took time.Duration) {
	at := &c.calls[method][min(int(code), codeCount-1)]
	h := at.Load()
	for h == nil {
		at.CompareAndSwap(nil, &metric.Histogram{})
		h = at.Load()
	}
	h.Observe(took)
}

// note counts what is published.
func (c *counts) note(e Effect) {
	switch e.Kind {
	case PublishCreate:
		c.created.Add(1)
	case PublishOOM:
		c.ooms.Add(1)
	case PublishExit:
		if e.Exec == "" {
			c.exits.Add(1)
		} else {
			c.execExits.Add(1)
		}
	}
}
