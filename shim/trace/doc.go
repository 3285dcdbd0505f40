// SPDX-License-Identifier: Apache-2.0

// Package trace makes spans of the server's work and sends them to an
// OpenTelemetry collector: OTLP over HTTP, protobuf. It is there only when the
// environment names a collector (the usual OTEL_ variables, see [FromEnv]);
// else the tracer is nil, and every method of a nil Tracer or Span does
// nothing. See docs/decisions/0012-looking-inside.md on why it is not OpenTelemetry's
// own library.
//
// The shim begins a span for each request, as a child of containerd's when the
// request brings one (traceparent in ttrpc's metadata), and children for the
// parts of it. The tracer's one goroutine sends them in batches; what cannot be
// sent in time is dropped and counted: a trace never holds up a container.
//
//	cfg, ok, err := trace.FromEnv(os.Getenv)
//	t := trace.New(cfg)
//	ctx, span := t.Request(ctx, parent, "containerd.task.v3.Task/Create")
//	...
//	span.End(err)
//	t.Close(ctx)
package trace
