// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Tracer makes spans. A nil one does nothing.
type Tracer struct {
	endpoint string
	provider *sdk.TracerProvider
	tracer   trace.Tracer
	delivery *delivery
}

// FromEnv returns a tracer as OpenTelemetry's variables want it, and nil when
// they name no collector or switch tracing off:
//
//	OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, or OTEL_EXPORTER_OTLP_ENDPOINT with /v1/traces
//	OTEL_EXPORTER_OTLP_[TRACES_]{PROTOCOL,HEADERS,TIMEOUT,CERTIFICATE,...}
//	OTEL_TRACES_EXPORTER (otlp, none), OTEL_SDK_DISABLED
//	OTEL_TRACES_SAMPLER, OTEL_TRACES_SAMPLER_ARG, OTEL_RESOURCE_ATTRIBUTES
//
// Most are read by the SDK, which goes on with its default when one is wrong,
// and says so in log. The SDK has one log for the whole process.
func FromEnv(ctx context.Context, log *slog.Logger) (*Tracer, error) {
	at, err := endpoint()
	if at == "" || err != nil {
		return nil, err
	}
	otel.SetLogger(logr.FromSlogHandler(log.Handler()))
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("trace", "err", err) }))
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("trace to %s: %w", at, err)
	}
	about, err := resource.New(ctx, resource.WithAttributes(attribute.String("service.name", "foundry")),
		resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil {
		log.Warn("trace", "err", err) // the rest of it is good
	}
	d := newDelivery(exporter, log)
	provider := sdk.NewTracerProvider(sdk.WithSpanProcessor(d), sdk.WithResource(about))
	return &Tracer{endpoint: at, provider: provider, tracer: provider.Tracer("foundry"), delivery: d}, nil
}

// Endpoint is where the spans go; "" of a nil tracer.
func (t *Tracer) Endpoint() string {
	if t == nil {
		return ""
	}
	return t.endpoint
}

// Counts is how many spans the collector has taken, and how many it has not.
func (t *Tracer) Counts() (sent, lost uint64) {
	if t == nil {
		return 0, 0
	}
	return t.delivery.sent.Load(), t.delivery.lost.Load()
}

// Close sends what waits, unless ctx ends first, and ends the tracer.
func (t *Tracer) Close(ctx context.Context) error {
	if t == nil {
		return nil
	}
	if err := t.provider.Shutdown(ctx); err != nil {
		return fmt.Errorf("send the last spans: %w", err)
	}
	return nil
}
