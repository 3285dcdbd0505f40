// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"context"
	"log/slog"
	"time"

	"github.com/containerd/ttrpc"
	"google.golang.org/grpc/status"

	"foundry/shim/trace"
)

// request is a call as its log lines, its histogram and its span know it.
type request struct {
	number uint64 // of this server's calls
	name   string
	key    Key
	exec   string
	begin  time.Time
	span   *trace.Span
	s      *Service
}

type requestKey struct{}

// watch begins to observe a call.
func (s *Service) watch(ctx context.Context, name string, req any) (context.Context, *request) {
	r := &request{number: s.counts.requests.Add(1), name: name, begin: time.Now(), s: s}
	r.key.Namespace, _ = ttrpc.GetMetadataValue(ctx, "containerd-namespace-ttrpc")
	if named, ok := req.(interface{ GetID() string }); ok {
		r.key.ID = named.GetID()
	}
	if named, ok := req.(interface{ GetExecID() string }); ok {
		r.exec = named.GetExecID()
	}
	ctx, r.span = s.tracer.Request(ctx, parentOf(ctx, s.tracer), "containerd.task.Task/"+name)
	r.span.Set("container.namespace", r.key.Namespace)
	r.span.Set("container.id", r.key.ID)
	r.span.Set("container.exec", r.exec)
	return context.WithValue(ctx, requestKey{}, r), r
}

// parentOf is the span that containerd made the call in.
func parentOf(ctx context.Context, t *trace.Tracer) (p trace.Parent) {
	if t != nil {
		p.Traceparent, _ = ttrpc.GetMetadataValue(ctx, "traceparent")
		p.Tracestate, _ = ttrpc.GetMetadataValue(ctx, "tracestate")
		p.Baggage, _ = ttrpc.GetMetadataValue(ctx, "baggage")
	}
	return p
}

// end tells how the call went; ctx is that of watch, and err has its code.
func (r *request) end(ctx context.Context, err error) {
	took, code := time.Since(r.begin), status.Code(err)
	r.s.counts.observe(r.name, code, took)
	r.span.End(err)
	if r.s.log.Enabled(ctx, slog.LevelDebug) {
		r.s.log.DebugContext(ctx, "call", "method", r.name, "namespace", r.key.Namespace, "id", r.key.ID, "exec", r.exec,
			"took", took, "code", code.String(), "err", err)
	}
}

// requests is a slog.Handler that adds the number of the call in whose context
// a line is logged.
type requests struct{ slog.Handler }

func withRequests(log *slog.Logger) *slog.Logger { return slog.New(requests{log.Handler()}) }

func (h requests) Handle(ctx context.Context, line slog.Record) error {
	if r, ok := ctx.Value(requestKey{}).(*request); ok {
		line.AddAttrs(slog.Uint64("request", r.number))
	}
	return h.Handler.Handle(ctx, line)
}

func (h requests) WithAttrs(attrs []slog.Attr) slog.Handler {
	return requests{h.Handler.WithAttrs(attrs)}
}
func (h requests) WithGroup(name string) slog.Handler { return requests{h.Handler.WithGroup(name)} }
