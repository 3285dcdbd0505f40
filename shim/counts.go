// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
)

// counts is what a service counts; what others count is read from them when
// somebody asks. See metrics.go for how it is shown.
type counts struct {
	rpcs  *prometheus.HistogramVec
	calls map[string]*[codeCount]atomic.Pointer[prometheus.Observer] // those of rpcs, by method; the map never changes

	requests                                           atomic.Uint64
	created, failed, undeleted, exits, execExits, ooms atomic.Uint64
}

// codeCount is the number of the codes of gRPC.
const codeCount = int(codes.Unauthenticated) + 1

func newCounts() *counts {
	c := &counts{
		calls: make(map[string]*[codeCount]atomic.Pointer[prometheus.Observer], len(bounds)),
		rpcs: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "foundry_rpc_duration_seconds",
			Help: "What calls of the task API took, by method and code. Wait takes as long as its process lives.",
			// From a call that reads memory to one that runs hooks.
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 60},
		}, []string{"method", "code"}),
	}
	for name := range bounds {
		c.calls[name] = &[codeCount]atomic.Pointer[prometheus.Observer]{}
	}
	return c
}

// observe counts a call. Most codes never come: a histogram is made for those
// that do, and looked up by its labels once.
func (c *counts) observe(method string, code codes.Code, took time.Duration) {
	code = min(code, codes.Code(codeCount-1))
	at := &c.calls[method][code]
	h := at.Load()
	if h == nil {
		made := c.rpcs.WithLabelValues(method, code.String()) // the same for all who come here at once
		h = &made
		at.Store(h)
	}
	(*h).Observe(took.Seconds())
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
