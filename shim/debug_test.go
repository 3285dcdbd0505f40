// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	task "github.com/containerd/containerd/api/runtime/task/v2"
	"github.com/containerd/ttrpc"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"foundry/shim/stdio"
	"foundry/shim/trace"
	"foundry/shim/view"
)

// looker serves a debug socket and returns a client of it.
func looker(t *testing.T, d *Debug) func(method, path, body string) (int, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), view.Socket)
	l, err := Listen(path)
	must(t, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := d.Serve(l); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
		return net.Dial("unix", path)
	}}}
	return func(method, at, body string) (int, string) {
		t.Helper()
		req, err := http.NewRequest(method, "http://x"+at, strings.NewReader(body))
		must(t, err)
		resp, err := c.Do(req)
		must(t, err)
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		must(t, err)
		return resp.StatusCode, string(text)
	}
}

func debugged(t *testing.T) (*Debug, *Service) {
	t.Helper()
	pump, err := stdio.NewPump(stdio.PumpConfig{})
	must(t, err)
	t.Cleanup(func() { pump.Close() })
	s := New(Config{Publisher: newTestPublisher(t, newSink(t)), Pump: pump})
	log := filepath.Join(t.TempDir(), "log")
	must(t, os.WriteFile(log, []byte("one\ntwo\nthree\n"), 0o600))
	return &Debug{Service: s, Level: &slog.LevelVar{}, Log: log, About: view.Server{Pid: 42}}, s
}

func TestDebug(t *testing.T) {
	d, s := debugged(t)
	ask := looker(t, d)
	c := created(t, s)
	must(t, c.add("e", nil, streams{}))
	c.noteFailure(errNotBuilt)
	for _, q := range []struct {
		method, path, body string
		code               int
		want               string
	}{
		{"GET", "/v1/server", "", 200, `"pid":42`},
		{"GET", "/v1/containers", "", 200, `"id":"c","status":"created","pid":1000`},
		{"GET", "/v1/containers?usage=1", "", 200, `"id":"c"`},
		{"GET", "/v1/containers/ns/c", "", 200, `"id":"e","status":"created"`},
		{"GET", "/v1/containers/ns/x", "", 404, "ns/x: container not created"},
		{"GET", "/v1/flights", "", 200, `"cause":"it was never created: not implemented"`},
		{"GET", "/v1/flights/ns/c", "", 200, `"what":"exec","process":"e"`},
		{"GET", "/v1/flights/ns/x", "", 404, "gone for more than an hour"},
		{"GET", "/v1/log?lines=2", "", 200, "two\nthree\n"},
		{"GET", "/v1/log?lines=100", "", 200, "one\ntwo\nthree\n"},
		{"GET", "/v1/log-level", "", 200, "info\n"},
		{"PUT", "/v1/log-level", "debug", 200, "debug\n"},
		{"PUT", "/v1/log-level", "loud", 400, "debug, info, warn, error"},
		{"GET", "/metrics", "", 200, `foundry_containers{state="created"} 1`},
		{"GET", "/debug/pprof/goroutine?debug=2", "", 200, "goroutine "},
		{"DELETE", "/v1/containers/ns/c", "", 405, "Method Not Allowed"},
		{"GET", "/", "", 404, "not found"},
	} {
		if code, text := ask(q.method, q.path, q.body); code != q.code || !strings.Contains(text, q.want) {
			t.Errorf("%s %s: got %d %s, want %d with %q", q.method, q.path, code, text, q.code, q.want)
		}
	}
	if d.Level.Level() != slog.LevelDebug {
		t.Errorf("level: got %v", d.Level.Level())
	}
}

// TestCallsAreSeen: a call is counted with its code, logged with its number,
// and its span is a child of the caller's.
func TestCallsAreSeen(t *testing.T) {
	var mu sync.Mutex
	var got collector.ExportTraceServiceRequest
	sink := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		_ = proto.UnmarshalOptions{Merge: true}.Unmarshal(body, &got)
	}))
	defer sink.Close()
	tracer := trace.New(trace.Config{Endpoint: sink.URL, Parents: true, Batch: time.Millisecond})
	d, s := debugged(t)
	var log bytes.Buffer
	s = New(Config{Publisher: s.pub, Pump: s.pump, Tracer: tracer,
		Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	d.Service = s
	client, ctx := dial(t, s.Register)
	md, _ := ttrpc.GetMetadata(ctx)
	md.Set("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	ctx = ttrpc.WithMetadata(ctx, md)
	if err := client.Call(ctx, taskV3, "State", &task.StateRequest{ID: "c", ExecID: "e"}, &task.StateResponse{}); err == nil {
		t.Error("state of nothing: got no error")
	}
	must(t, tracer.Close(t.Context()))
	mu.Lock()
	defer mu.Unlock()
	span := got.ResourceSpans[0].ScopeSpans[0].Spans[0]
	if span.Name != "containerd.task.Task/State" || span.ParentSpanId[0] != 0xb7 || span.TraceId[0] != 0x0a || !strings.Contains(span.Status.Message, "not created") {
		t.Errorf("span: %v", span)
	}
	if line := log.String(); !strings.Contains(line, `msg=call method=State namespace=ns id=c exec=e`) || !strings.Contains(line, "code=NotFound") || !strings.Contains(line, "request=1") {
		t.Errorf("log: %s", line)
	}
	if _, text := looker(t, d)("GET", "/metrics", ""); !strings.Contains(text, `foundry_rpc_duration_seconds_count{method="State",code="NotFound"} 1`) {
		t.Errorf("metrics: %s", text)
	}
}

// TestDescriptors: ours are told apart by what they are open on.
func TestDescriptors(t *testing.T) {
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "journal"))
	must(t, err)
	defer f.Close()
	other, err := os.Create(filepath.Join(t.TempDir(), "journal"))
	must(t, err)
	defer other.Close()
	found := descriptors(newOwner([]view.Process{{Pid: os.Getpid()}}, dir))
	paths := 0
	for _, path := range found {
		if path == f.Name() {
			paths++
		}
		if path == other.Name() {
			t.Errorf("%s is not ours", path)
		}
	}
	if paths != 1 {
		t.Errorf("got %v, want %s", found, f.Name())
	}
}

// TestMeasuringIsBounded: when what measures hangs, a list comes all the same,
// and no more goroutines hang than there are places.
func TestMeasuringIsBounded(t *testing.T) {
	_, s := debugged(t)
	c := created(t, s)
	for range cap(s.readers) {
		s.readers <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	list := s.measured(ctx, []*container{c})
	if len(list) != 1 || list[0].ID != "c" || list[0].Usage != nil {
		t.Errorf("got %+v", list)
	}
	for range cap(s.readers) {
		<-s.readers
	}
}
