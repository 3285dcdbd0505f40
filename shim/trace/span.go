// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"context"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Span is a piece of work. A nil one is not recorded.
type Span struct {
	span    trace.Span
	tracer  trace.Tracer
	baggage baggage.Baggage // of the request, for those who come after
}

type spanKey struct{}

// From is the span that ctx carries, or nil.
func From(ctx context.Context) *Span {
	s, _ := ctx.Value(spanKey{}).(*Span)
	return s
}

// Parent is where a request comes from, as W3C's headers have it.
type Parent struct{ Traceparent, Tracestate, Baggage string }

// The names of the headers.
const (
	traceparent = "traceparent"
	tracestate  = "tracestate"
	baggageName = "baggage"
)

// headers reads and writes W3C's headers.
func headers() propagation.TextMapPropagator {
	return propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})
}

// Request begins the span of a request. The span is in the context too.
func (t *Tracer) Request(ctx context.Context, p Parent, name string) (context.Context, *Span) {
	if t == nil {
		return ctx, nil
	}
	from := propagation.MapCarrier{traceparent: p.Traceparent, tracestate: p.Tracestate, baggageName: p.Baggage}
	ctx, span := t.tracer.Start(headers().Extract(ctx, from), name, trace.WithSpanKind(trace.SpanKindServer))
	s := &Span{span: span, tracer: t.tracer, baggage: baggage.FromContext(ctx)}
	return context.WithValue(ctx, spanKey{}, s), s
}

// context carries s and nothing of its request, which it may outlive.
func (s *Span) context() context.Context {
	return baggage.ContextWithBaggage(trace.ContextWithSpan(context.Background(), s.span), s.baggage)
}

// Env is what a child process gets of the trace.
func (s *Span) Env() []string {
	if s == nil {
		return nil
	}
	to := propagation.MapCarrier{}
	headers().Inject(s.context(), to)
	var env []string
	for _, name := range []string{traceparent, tracestate, baggageName} {
		if v := to[name]; v != "" {
			env = append(env, strings.ToUpper(name)+"="+v)
		}
	}
	return env
}

// Set adds an attribute.
func (s *Span) Set(name, value string) {
	if s != nil && value != "" {
		s.span.SetAttributes(attribute.String(name, value))
	}
}

// Part adds a child that has just ended.
func (s *Span) Part(name string, took time.Duration) {
	if s == nil {
		return
	}
	now := time.Now()
	_, part := s.tracer.Start(s.context(), name, trace.WithTimestamp(now.Add(-took)))
	part.End(trace.WithTimestamp(now))
}

// End ends the span, and hands it over to be sent. It is called once.
func (s *Span) End(err error) {
	if s == nil {
		return
	}
	if err != nil {
		s.span.SetStatus(codes.Error, err.Error())
	}
	s.span.End()
}
