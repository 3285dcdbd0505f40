// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"context"
	"log/slog"
	"sync/atomic"

	sdk "go.opentelemetry.io/otel/sdk/trace"
)

// delivery counts what becomes of spans, which the SDK keeps to itself. It
// stands before the SDK's queue, and behind it.
type delivery struct {
	sdk.SpanProcessor // the queue
	exporter          sdk.SpanExporter
	log               *slog.Logger
	room              int64 // of the queue, as the SDK made it
	waiting           atomic.Int64
	sent, lost        atomic.Uint64
	failing           atomic.Bool // the last batch was not taken
}

func newDelivery(exporter sdk.SpanExporter, log *slog.Logger) *delivery {
	d := &delivery{exporter: exporter, log: log}
	d.SpanProcessor = sdk.NewBatchSpanProcessor(behind{d}, func(o *sdk.BatchSpanProcessorOptions) { d.room = int64(o.MaxQueueSize) })
	return d
}

// OnEnd drops a span that the queue would drop, but not in silence.
func (d *delivery) OnEnd(s sdk.ReadOnlySpan) {
	if d.waiting.Add(1) > d.room {
		d.waiting.Add(-1)
		d.lost.Add(1)
		return
	}
	d.SpanProcessor.OnEnd(s)
}

// behind is the end of the queue.
type behind struct{ *delivery }

// ExportSpans sends a batch. A collector that is away for hours is two lines in
// the log, not one for each batch: an error would be logged by the SDK.
func (b behind) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	err := b.exporter.ExportSpans(ctx, spans)
	n := len(spans)
	b.waiting.Add(-int64(n))
	if err != nil {
		b.lost.Add(uint64(n))
	} else {
		b.sent.Add(uint64(n))
	}
	switch was := b.failing.Swap(err != nil); {
	case err != nil && !was:
		b.log.Warn("spans are lost", "spans", n, "err", err)
	case err == nil && was:
		b.log.Info("spans are taken again", "lost", b.lost.Load())
	}
	return nil
}

// Shutdown ends the exporter.
func (b behind) Shutdown(ctx context.Context) error { return b.exporter.Shutdown(ctx) }
