// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	spans "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/containerd/containerd/v2/pkg/oci"

	"foundry/integration/env"
)

// spanSink is an OpenTelemetry collector.
type spanSink struct {
	*httptest.Server
	mu  sync.Mutex
	got []*spans.Span
}

func (s *spanSink) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var req collector.ExportTraceServiceRequest
	if proto.Unmarshal(body, &req) != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, rs := range req.ResourceSpans {
		for _, a := range rs.Resource.Attributes {
			if a.Key == "service.name" && a.Value.GetStringValue() == "foundry" {
				s.got = append(s.got, rs.ScopeSpans[0].Spans...)
			}
		}
	}
}

// of returns the span of a call, and the names of its parts.
func (s *spanSink) of(call, id string) (span *spans.Span, parts []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sp := range s.got {
		for _, a := range sp.Attributes {
			if sp.Name == "containerd.task.Task/"+call && a.Key == "container.id" && a.Value.GetStringValue() == id {
				span = sp
			}
		}
	}
	for _, sp := range s.got {
		if span != nil && bytes.Equal(sp.ParentSpanId, span.SpanId) {
			parts = append(parts, sp.Name)
		}
	}
	return span, parts
}

// A collector that containerd's environment names gets a span of each call,
// with the parts of a create, and a hook finds it in its environment.
func TestTraces(t *testing.T) {
	requireFoundry(t)
	sink := &spanSink{}
	sink.Server = httptest.NewServer(sink)
	t.Cleanup(sink.Close)
	d := env.Containerd(t, env.Config{Env: []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + sink.URL, "OTEL_SERVICE_NAME=not-this"}})
	file := t.TempDir() + "/env"
	c := d.Container(t, env.ContainerConfig{ID: "traced", Args: []string{"/bin/true"}, Opts: []oci.SpecOpts{change(func(s *specs.Spec) {
		s.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", "env >" + file}}}}
	})}})
	d.Run(t, c)
	var create, start *spans.Span
	var parts, startParts []string
	env.Eventually(t, "spans of create, start and delete", func() bool {
		create, parts = sink.of("Create", "traced")
		start, startParts = sink.of("Start", "traced")
		last, _ := sink.of("Delete", "traced")
		return create != nil && start != nil && last != nil
	})
	if got, want := strings.Join(parts, " "), "stdio load cgroup plan clone mounts hooks ready"; got != want {
		t.Errorf("parts of create: got %s, want %s", got, want)
	}
	if got := strings.Join(startParts, " "); got != "exec" {
		t.Errorf("parts of start: got %s, want exec", got)
	}
	text, err := os.ReadFile(file)
	want := "TRACEPARENT=00-" + hex.EncodeToString(create.TraceId) + "-" + hex.EncodeToString(create.SpanId) + "-01\n"
	if err != nil || !strings.Contains(string(text), want) {
		t.Errorf("hook's environment: %v, %q lacks %q", err, text, want)
	}
	if strings.Contains(string(text), "OTEL_") {
		t.Errorf("hook's environment has the server's: %q", text)
	}
}
