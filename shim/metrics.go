// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"maps"
	"net/http"
	"os"
	goruntime "runtime"
	"runtime/metrics"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc/codes"

	"foundry/shim/metric"
	"foundry/shim/view"
)

// metrics answers a scrape. What it costs is in the number of containers; what
// it takes is bounded by the measuring of them.
func (d *Debug) metrics(w http.ResponseWriter, r *http.Request) {
	var m metric.Writer
	m.Family("foundry_build_info", metric.TypeGauge, "The version of the server; always 1.")
	m.Sample(1, "version", d.About.Version)
	m.One("foundry_start_time_seconds", metric.TypeGauge, "When the server was started, in seconds since 1970.", float64(d.About.Started.UnixNano())/1e9)
	d.Service.counts.write(&m)
	d.Service.write(&m)
	writeProcess(&m)
	writeUsage(&m, d.Service.measured(r.Context(), d.Service.list()))
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, _ = w.Write(m.Bytes()) // an error is the reader's connection
}

// write writes what the service counted itself.
func (c *counts) write(m *metric.Writer) {
	m.Family("foundry_rpc_duration_seconds", metric.TypeHistogram, "What calls of the task API took, by method and code. Wait takes as long as its process lives.")
	for _, name := range slices.Sorted(maps.Keys(c.calls)) {
		for code := range c.calls[name] {
			if h := c.calls[name][code].Load(); h != nil {
				m.Histogram(h, "method", name, "code", codes.Code(code).String())
			}
		}
	}
	counter := func(name, help string, n *atomic.Uint64) { m.One(name, metric.TypeCounter, help, float64(n.Load())) }
	counter("foundry_creates_total", "Containers that were created.", &c.created)
	counter("foundry_creates_failed_total", "Creates that failed, and were undone.", &c.failed)
	counter("foundry_deletes_failed_total", "Deletes of containers and execs that left something behind; they can be tried again.", &c.undeleted)
	counter("foundry_oom_events_total", "Times that containerd was told of OOM kills.", &c.ooms)
	m.Family("foundry_exits_total", metric.TypeCounter, "Processes that ended: inits and execs.")
	m.Sample(float64(c.exits.Load()), "process", "init")
	m.Sample(float64(c.execExits.Load()), "process", "exec")
}

// write writes what stands behind the service.
func (s *Service) write(m *metric.Writer) {
	gauge := func(name, help string, v float64) { m.One(name, metric.TypeGauge, help, v) }
	counter := func(name, help string, v uint64) { m.One(name, metric.TypeCounter, help, float64(v)) }
	states, execs := s.census()
	m.Family("foundry_containers", metric.TypeGauge, "Containers by state.")
	for p := Creating; p < Deleted; p++ {
		m.Sample(float64(states[p]), "state", p.String())
	}
	gauge("foundry_execs", "Execs that run.", float64(execs))
	queued, lost := s.pub.Backlog()
	sent, retries := s.pub.Deliveries()
	gauge("foundry_events_queued", "Events that containerd has not taken yet.", float64(queued))
	counter("foundry_events_delivered_total", "Events that containerd has taken.", sent)
	counter("foundry_events_retries_total", "Attempts to deliver an event after its first.", retries)
	counter("foundry_events_lost_total", "Events that were given up.", lost)
	st := s.pump.Stats()
	gauge("foundry_streams", "Open streams of containers.", float64(st.Streams))
	counter("foundry_stream_bytes_total", "Bytes carried between containers and clients.", st.Moved)
	counter("foundry_output_lost_bytes_total", "Bytes of output that nobody got.", st.Lost)
	counter("foundry_stream_stalls_total", "Calls on a stream that did not come back in time.", st.Stuck)
	gauge("foundry_output_rings", "Streams whose output is kept because nobody takes it.", float64(st.Rings))
	gauge("foundry_output_kept_bytes", "Memory of kept output.", float64(st.Kept))
	spans, dropped := s.tracer.Counts()
	counter("foundry_spans_sent_total", "Spans that the collector has taken.", spans)
	counter("foundry_spans_lost_total", "Spans that were dropped.", dropped)
	if s.runtime != nil {
		counter("foundry_spawner_orphans_total", "Processes that were left to the spawner and reaped by it.", s.runtime.Orphans())
	}
	s.writeLosses(m)
}

// writeLosses names the containers whose output was lost.
func (s *Service) writeLosses(m *metric.Writer) {
	m.Family("foundry_container_output_lost_bytes_total", metric.TypeCounter, "Bytes of output that nobody got, of containers that lost some.")
	for _, l := range s.Losses() {
		for stream, n := range map[string]uint64{"stdout": l.Stdout, "stderr": l.Stderr} {
			if n > 0 {
				m.Sample(float64(n), "namespace", l.Namespace, "id", l.ID, "stream", stream)
			}
		}
	}
}

// census counts containers by phase, and execs that run.
func (s *Service) census() (states [phaseCount]int, execs int) {
	for _, c := range s.list() {
		c.mu.Lock()
		states[c.state.Init.Phase]++
		execs += c.state.liveExecs()
		c.mu.Unlock()
	}
	return states, execs
}

// writeProcess writes what the server itself is made of.
func writeProcess(m *metric.Writer) {
	gauge := func(name, help string, v float64) { m.One(name, metric.TypeGauge, help, v) }
	gauge("foundry_goroutines", "Goroutines of the server.", float64(goruntime.NumGoroutine()))
	if fds, err := os.ReadDir("/proc/self/fd"); err == nil {
		gauge("foundry_open_fds", "Descriptors of the server.", float64(len(fds)-1)) // one read the directory
	}
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) == nil {
		gauge("foundry_max_fds", "How many descriptors the server may have.", float64(limit.Cur))
	}
	samples := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/total:bytes"}}
	metrics.Read(samples)
	gauge("foundry_heap_bytes", "Memory of the server's live and not yet collected objects.", float64(samples[0].Value.Uint64()))
	gauge("foundry_go_memory_bytes", "Memory that the Go runtime of the server has mapped.", float64(samples[1].Value.Uint64()))
	var use syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &use) == nil {
		cpu := time.Duration(use.Utime.Nano() + use.Stime.Nano())
		m.One("foundry_cpu_seconds_total", metric.TypeCounter, "Processor time of the server.", cpu.Seconds())
	}
}

// figure is a metric of a container.
type figure struct {
	name string
	kind metric.Type
	help string
	of   func(*view.Usage) (float64, bool)
}

var figures = []figure{
	{"foundry_container_cpu_seconds_total", metric.TypeCounter, "Processor time of a container.",
		func(u *view.Usage) (float64, bool) { return u.CPU.Seconds(), true }},
	{"foundry_container_throttled_seconds_total", metric.TypeCounter, "Time that a container was held back by its limit of processor time.",
		func(u *view.Usage) (float64, bool) { return u.Throttled.Seconds(), true }},
	{"foundry_container_memory_bytes", metric.TypeGauge, "Memory of a container, caches included.",
		func(u *view.Usage) (float64, bool) { return float64(u.Memory), true }},
	{"foundry_container_memory_limit_bytes", metric.TypeGauge, "Limit of memory, of containers that have one.",
		func(u *view.Usage) (float64, bool) { return float64(u.MemoryLimit), u.MemoryLimit > 0 }},
	{"foundry_container_swap_bytes", metric.TypeGauge, "Swap of a container.",
		func(u *view.Usage) (float64, bool) { return float64(u.Swap), true }},
	{"foundry_container_oom_kills_total", metric.TypeCounter, "Processes of a container that were killed for memory.",
		func(u *view.Usage) (float64, bool) { return float64(u.OOMKills), true }},
	{"foundry_container_pids", metric.TypeGauge, "Tasks (processes and threads) in a container.",
		func(u *view.Usage) (float64, bool) { return float64(u.Pids), true }},
	{"foundry_container_read_bytes_total", metric.TypeCounter, "Bytes that a container has read from block devices.",
		func(u *view.Usage) (float64, bool) { return float64(u.ReadBytes), true }},
	{"foundry_container_written_bytes_total", metric.TypeCounter, "Bytes that a container has written to block devices.",
		func(u *view.Usage) (float64, bool) { return float64(u.WriteBytes), true }},
}

// writeUsage writes what containers use.
func writeUsage(m *metric.Writer, list []view.Container) {
	for _, f := range figures {
		m.Family(f.name, f.kind, f.help)
		for _, c := range list {
			if c.Usage == nil {
				continue
			}
			if v, ok := f.of(c.Usage); ok {
				m.Sample(v, "namespace", c.Namespace, "id", c.ID)
			}
		}
	}
	m.Family("foundry_container_pressure_seconds_total", metric.TypeCounter,
		"Time that some, or all, processes of a container stood still for want of a resource.")
	unmeasured := 0
	for _, c := range list {
		if c.Usage == nil {
			unmeasured++
			continue
		}
		for _, what := range []string{"cpu", "io", "memory"} {
			if p := c.Usage.Pressure[what]; p != nil {
				m.Sample(p.Some.Seconds(), "namespace", c.Namespace, "id", c.ID, "resource", what, "kind", "some")
				m.Sample(p.Full.Seconds(), "namespace", c.Namespace, "id", c.ID, "resource", what, "kind", "full")
			}
		}
	}
	m.One("foundry_containers_unmeasured", metric.TypeGauge, "Containers without figures in this scrape: just made, or not read in time.", float64(unmeasured))
}
