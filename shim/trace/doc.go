// SPDX-License-Identifier: Apache-2.0

// Package trace makes spans of the server's work with OpenTelemetry's SDK,
// which sends them to a collector: OTLP over HTTP. It adds to the SDK what the
// shim needs of it and nobody else does: it is there only when the environment
// names a collector (see [FromEnv]); else the tracer is nil, and every method
// of a nil Tracer or Span does nothing. It counts what the collector took and
// what it did not. See docs/decisions/0012-looking-inside.md.
//
// The shim begins a span for each request, as a child of containerd's when the
// request brings one (traceparent in ttrpc's metadata), and children for the
// parts of it. The SDK sends them in batches from a goroutine of its own; what
// cannot be sent in time is dropped and counted: a trace never holds up a
// container. The tracer outlives all requests; a span may outlive its request.
//
//	t, err := trace.FromEnv(ctx, log)
//	ctx, span := t.Request(ctx, parent, "containerd.task.v3.Task/Create")
//	...
//	span.End(err)
//	t.Close(ctx)
package trace
