// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/containerd/ttrpc"
	"google.golang.org/protobuf/proto"
)

// bound is how long a call may take and whether it goes on without its caller.
type bound struct {
	limit time.Duration
	// detached: what was begun is finished, also when the connection closes
	// half-way (containerd stopped): a container is not left half deleted.
	detached bool
}

// bounds bound every call: whoever asks gets an answer within this time, also
// when the kernel holds the thread that works on it. 0 is a call that reads
// memory only, or (Wait) that is meant to last.
//
// Create and Start run hooks; Delete runs hooks and drains output for up to
// drainTime. Create alone is undone when its caller goes away: nobody else
// knows the id yet. containerd's own patience: 2 s for State, 5 s for Connect
// and Pids at its restart, 3 s for Shutdown, none for the others.
var bounds = map[string]bound{
	"State":      {},
	"Create":     {limit: 2 * time.Minute},
	"Start":      {limit: time.Minute, detached: true},
	"Delete":     {limit: time.Minute, detached: true},
	"Pids":       {limit: 4 * time.Second},
	"Pause":      {limit: 10 * time.Second, detached: true},
	"Resume":     {limit: 10 * time.Second, detached: true},
	"Checkpoint": {limit: 10 * time.Minute},
	"Kill":       {limit: 10 * time.Second, detached: true},
	"Exec":       {},
	"ResizePty":  {limit: 2 * time.Second},
	"CloseIO":    {limit: 2 * time.Second},
	"Update":     {limit: 10 * time.Second, detached: true},
	"Wait":       {},
	"Stats":      {limit: 5 * time.Second},
	"Connect":    {},
	"Shutdown":   {},
}

// Both services carry the same messages under two names (a test compares the
// descriptors), so one method table serves both, and the v2 package spares us
// the gRPC server that the v3 one links.
const (
	taskV2 = "containerd.task.v2.Task"
	taskV3 = "containerd.task.v3.Task"
)

// Register adds the task services to a server.
func (s *Service) Register(server *ttrpc.Server) {
	methods := s.methods()
	server.RegisterService(taskV2, &ttrpc.ServiceDesc{Methods: methods})
	server.RegisterService(taskV3, &ttrpc.ServiceDesc{Methods: methods})
}

func (s *Service) methods() map[string]ttrpc.Method {
	return map[string]ttrpc.Method{
		"State":      method(s, "State", s.State),
		"Create":     method(s, "Create", s.Create),
		"Start":      method(s, "Start", s.Start),
		"Delete":     method(s, "Delete", s.Delete),
		"Pids":       method(s, "Pids", s.Pids),
		"Pause":      method(s, "Pause", s.Pause),
		"Resume":     method(s, "Resume", s.Resume),
		"Checkpoint": method(s, "Checkpoint", s.Checkpoint),
		"Kill":       method(s, "Kill", s.Kill),
		"Exec":       method(s, "Exec", s.Exec),
		"ResizePty":  method(s, "ResizePty", s.ResizePty),
		"CloseIO":    method(s, "CloseIO", s.CloseIO),
		"Update":     method(s, "Update", s.Update),
		"Wait":       method(s, "Wait", s.Wait),
		"Stats":      method(s, "Stats", s.Stats),
		"Connect":    method(s, "Connect", s.Connect),
		"Shutdown":   method(s, "Shutdown", s.Shutdown),
	}
}

// message is a pointer to a generated message struct.
type message[T any] interface {
	*T
	proto.Message
}

// method makes a ttrpc method of a handler: it decodes, bounds the time, turns
// a panic into an error of this one call, and gives the error its code.
func method[Req any, PReq message[Req], Resp proto.Message](
	s *Service, name string, handle func(context.Context, PReq) (Resp, error),
) ttrpc.Method {
	b := bounds[name]
	return func(ctx context.Context, unmarshal func(any) error) (any, error) {
		req := PReq(new(Req))
		if err := unmarshal(req); err != nil {
			return nil, err
		}
		ctx, w := s.watch(ctx, name, req)
		resp, err := bounded(ctx, call[Resp]{
			name: name, bound: b, log: s.log,
			run: func(ctx context.Context) (Resp, error) { return handle(ctx, req) },
		})
		err = toWire(err)
		w.end(ctx, err)
		if err != nil {
			return nil, err
		}
		return resp, nil
	}
}

// call is one call under way.
type call[T any] struct {
	name  string
	bound // no limit: runs in the caller's goroutine
	log   *slog.Logger
	run   func(context.Context) (T, error)
}

// bounded runs c and returns after its limit at the latest. What hangs in the
// kernel goes on in its goroutine and brings the container's state in order
// when it returns; only the answer is not waited for.
func bounded[T any](ctx context.Context, c call[T]) (T, error) {
	if c.limit == 0 {
		return c.guarded(ctx)
	}
	if c.detached {
		ctx = context.WithoutCancel(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, c.limit)
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		defer cancel()
		value, err := c.guarded(ctx)
		done <- result{value, err}
	}()
	// The handler is told first and gets a moment to undo and to say which
	// object it hung at.
	overtime := time.NewTimer(c.limit + grace)
	defer overtime.Stop()
	select {
	case r := <-done:
		return r.value, r.err
	case <-overtime.C:
		var zero T
		c.log.ErrorContext(ctx, "call hangs", "method", c.name, "after", c.limit+grace)
		return zero, overdue(c.name, c.limit, context.DeadlineExceeded)
	}
}

// grace is what a handler may take beyond its limit for its undoing.
const grace = 500 * time.Millisecond

// guarded runs c and turns a panic into an error.
func (c call[T]) guarded(ctx context.Context) (value T, err error) {
	defer func() {
		if r := recover(); r != nil {
			c.log.ErrorContext(ctx, "panic", "method", c.name, "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
			err = fmt.Errorf("%s: %w", c.name, errPanic)
		}
	}()
	return c.run(ctx)
}
