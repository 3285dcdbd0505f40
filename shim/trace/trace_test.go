// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	spans "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// sink is a collector. It decodes with OpenTelemetry's own messages.
type sink struct {
	*httptest.Server
	mu      sync.Mutex
	answers []int // statuses for the next requests, 200 after them
	heads   []http.Header
	got     []*spans.ResourceSpans
}

func newSink(t *testing.T, answers ...int) *sink {
	t.Helper()
	s := &sink{answers: answers}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	if len(s.answers) > 0 {
		code := s.answers[0]
		if s.answers = s.answers[1:]; code != http.StatusOK {
			w.WriteHeader(code)
			return
		}
	}
	var req collector.ExportTraceServiceRequest
	if err := proto.Unmarshal(body, &req); err != nil || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	s.heads = append(s.heads, r.Header)
	s.got = append(s.got, req.ResourceSpans...)
}

// all are the spans that came, by name.
func (s *sink) all() map[string]*spans.Span {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := map[string]*spans.Span{}
	for _, r := range s.got {
		for _, scope := range r.ScopeSpans {
			for _, span := range scope.Spans {
				m[span.Name] = span
			}
		}
	}
	return m
}

func tracerOf(t *testing.T, env map[string]string) *Tracer {
	t.Helper()
	cfg, ok, err := FromEnv(func(k string) string { return env[k] })
	if err != nil || !ok {
		t.Fatalf("config: %v, %v", ok, err)
	}
	cfg.Batch = time.Millisecond
	return New(cfg)
}

func shut(t *testing.T, tr *Tracer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := tr.Close(ctx); err != nil {
		t.Error(err)
	}
}

const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func TestSpansArrive(t *testing.T) {
	s := newSink(t)
	tr := tracerOf(t, map[string]string{
		"OTEL_EXPORTER_OTLP_ENDPOINT": s.URL, "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20x", "OTEL_RESOURCE_ATTRIBUTES": "host.name=h",
	})
	ctx, span := tr.Request(t.Context(), Parent{Traceparent: parent, Tracestate: "a=b"}, "Create")
	span.Set("container.id", "web-1")
	From(ctx).Part("cgroup", time.Second)
	span.End(errors.New("no bundle"))
	shut(t, tr)
	got := s.all()
	create, part := got["Create"], got["cgroup"]
	if create == nil || part == nil {
		t.Fatalf("got %v", got)
	}
	if hex.EncodeToString(create.TraceId) != parent[3:35] || hex.EncodeToString(create.ParentSpanId) != parent[36:52] || create.TraceState != "a=b" {
		t.Errorf("the parent is lost: %v", create)
	}
	if create.Kind != spans.Span_SPAN_KIND_SERVER || create.Status.GetCode() != spans.Status_STATUS_CODE_ERROR || create.Status.Message != "no bundle" ||
		create.Attributes[0].Key != "container.id" || create.Attributes[0].Value.GetStringValue() != "web-1" {
		t.Errorf("request: %v", create)
	}
	if string(part.ParentSpanId) != string(create.SpanId) || string(part.TraceId) != string(create.TraceId) ||
		part.EndTimeUnixNano-part.StartTimeUnixNano != uint64(time.Second) || part.Status != nil {
		t.Errorf("part: %v", part)
	}
	resource := map[string]string{}
	for _, a := range s.got[0].Resource.Attributes {
		resource[a.Key] = a.Value.GetStringValue()
	}
	if resource["service.name"] != "foundry" || resource["host.name"] != "h" || s.heads[0].Get("Authorization") != "Bearer x" {
		t.Errorf("resource %v, headers %v", resource, s.heads[0])
	}
	if sent, lost := tr.Counts(); sent != 2 || lost != 0 {
		t.Errorf("sent %d, lost %d", sent, lost)
	}
}

// A child process joins the trace.
func TestEnv(t *testing.T) {
	s := newSink(t)
	tr := tracerOf(t, map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": s.URL + "/v1/traces"})
	defer shut(t, tr)
	ctx, span := tr.Request(t.Context(), Parent{Traceparent: parent, Tracestate: "a=b", Baggage: "c=d"}, "Create")
	env := strings.Join(From(ctx).Env(), " ")
	want := "TRACEPARENT=" + parent[:36] + hex.EncodeToString(span.id[:]) + "-01 TRACESTATE=a=b BAGGAGE=c=d"
	if env != want {
		t.Errorf("got %q, want %q", env, want)
	}
	span.End(nil)
}

// A nil tracer is what a server has that is not to trace.
func TestNil(t *testing.T) {
	var tr *Tracer
	ctx, span := tr.Request(t.Context(), Parent{Traceparent: parent}, "x")
	span.Set("a", "b")
	span.Part("p", time.Second)
	span.End(nil)
	if From(ctx) != nil || span.Env() != nil || tr.Endpoint() != "" || tr.Close(ctx) != nil {
		t.Error("a nil tracer does something")
	}
}

func TestCollectorFails(t *testing.T) {
	s := newSink(t, http.StatusServiceUnavailable, http.StatusOK, http.StatusForbidden)
	tr := tracerOf(t, map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": s.URL})
	for range 2 {
		_, span := tr.Request(t.Context(), Parent{}, "x")
		span.End(nil)
		for sent, lost := tr.Counts(); sent+lost == 0; sent, lost = tr.Counts() {
			time.Sleep(time.Millisecond) // there is no event of it
		}
	}
	shut(t, tr)
	if sent, lost := tr.Counts(); sent != 1 || lost != 1 {
		t.Errorf("sent %d, lost %d: want the first after a second try, and the second given up", sent, lost)
	}
}

func TestSampling(t *testing.T) {
	for _, c := range []struct {
		sampler, arg, traceparent string
		want                      bool
	}{
		{"", "", "", true},
		{"", "", parent, true},
		{"", "", parent[:53] + "00", false},
		{"always_on", "", parent[:53] + "00", true},
		{"always_off", "", parent, false},
		{"parentbased_always_off", "", parent, true},
		{"parentbased_always_off", "", "", false},
		{"traceidratio", "0", "", false},
		{"parentbased_traceidratio", "1", "", true},
	} {
		env := map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_TRACES_SAMPLER": c.sampler, "OTEL_TRACES_SAMPLER_ARG": c.arg}
		cfg, _, err := FromEnv(func(k string) string { return env[k] })
		if err != nil {
			t.Fatal(err)
		}
		tr := &Tracer{cfg: cfg}
		if _, span := tr.Request(t.Context(), Parent{Traceparent: c.traceparent}, "x"); span.sampled != c.want {
			t.Errorf("%+v: got %v", c, span.sampled)
		}
	}
}

func TestFromEnv(t *testing.T) {
	for _, c := range []struct {
		env  string
		want string // endpoint, or a part of the error
		ok   bool
	}{
		{"", "", false},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=http://h:4318/", "http://h:4318/v1/traces", true},
		{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=https://h/t OTEL_EXPORTER_OTLP_ENDPOINT=http://x", "https://h/t", true},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=http://h OTEL_SDK_DISABLED=true", "", false},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=http://h OTEL_TRACES_EXPORTER=none", "", false},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=http://h OTEL_EXPORTER_OTLP_PROTOCOL=grpc", "http/protobuf", false},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=h:4317", "URL", false},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=http://h OTEL_EXPORTER_OTLP_TIMEOUT=soon", "soon", false},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=http://h OTEL_TRACES_SAMPLER=jaeger", "jaeger", false},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=http://h OTEL_TRACES_SAMPLER=traceidratio OTEL_TRACES_SAMPLER_ARG=2", "SAMPLER_ARG", false},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=https://h OTEL_EXPORTER_OTLP_CERTIFICATE=/no/file", "/no/file", true},
	} {
		env := map[string]string{}
		for _, kv := range strings.Fields(c.env) {
			k, v, _ := strings.Cut(kv, "=")
			env[k] = v
		}
		cfg, ok, err := FromEnv(func(k string) string { return env[k] })
		if err != nil && !strings.Contains(err.Error(), c.want) || err == nil && (ok != c.ok || cfg.Endpoint != c.want) {
			t.Errorf("%s: got %q, %v, %v", c.env, cfg.Endpoint, ok, err)
		}
	}
}
