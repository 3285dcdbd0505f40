// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	goruntime "runtime"
	"runtime/metrics"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"foundry/shim/stdio"
	"foundry/shim/view"
)

// metrics makes what answers scrapes. What one costs is in the number of
// containers; what it takes is bounded by the measuring of them. The registry
// is our own: what libraries put into the common one is not shown.
func (d *Debug) metrics() http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(scraped{d}, d.Service.counts.rpcs)
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{
		ErrorLog:      slog.NewLogLogger(d.Service.log.Handler(), slog.LevelWarn),
		ErrorHandling: promhttp.ContinueOnError, // a figure that cannot be shown is no reason to hide the others
	})
}

// scraped reads counters and states, which exist anyway, when it is asked.
type scraped struct{ *Debug }

// Describe is that of a prometheus.Collector.
func (c scraped) Describe(out chan<- *prometheus.Desc) {
	for _, f := range families {
		out <- f.desc()
	}
}

// Collect is that of a prometheus.Collector.
func (c scraped) Collect(out chan<- prometheus.Metric) {
	now := c.reading()
	for _, f := range families {
		desc := f.desc()
		f.of(now, func(v float64, labels ...string) {
			m, err := prometheus.NewConstMetric(desc, f.kind, v, labels...)
			if err != nil {
				m = prometheus.NewInvalidMetric(desc, err)
			}
			out <- m
		})
	}
}

// reading is what there was to read at a time.
type reading struct {
	about view.Server
	*counts
	*Service
	states      [phaseCount]int
	execs       int
	pump        stdio.Stats
	queued      int    // events
	delivered   uint64 // the same, as what follows
	retries     uint64
	given       uint64
	spans       uint64
	lostSpans   uint64
	heap, total uint64
	containers  []view.Container
	unmeasured  int
}

func (c scraped) reading() *reading {
	s := c.Service
	r := &reading{about: c.About, counts: s.counts, Service: s, pump: s.pump.Stats()}
	r.states, r.execs = s.census()
	r.queued, r.given = s.pub.Backlog()
	r.delivered, r.retries = s.pub.Deliveries()
	r.spans, r.lostSpans = s.tracer.Counts()
	samples := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/total:bytes"}}
	metrics.Read(samples)
	r.heap, r.total = samples[0].Value.Uint64(), samples[1].Value.Uint64()
	for _, c := range s.measured(context.Background(), s.list()) {
		if c.Usage == nil {
			r.unmeasured++
			continue
		}
		r.containers = append(r.containers, c)
	}
	return r
}

// census counts containers by phase, and execs that run.
func (s *Service) census() (states [phaseCount]int, execs int) {
	for _, c := range s.list() {
		c.mu.Lock()
		states[c.state.Init.Phase]++
		for _, p := range c.state.Execs {
			if p.live() {
				execs++
			}
		}
		c.mu.Unlock()
	}
	return states, execs
}

// put takes a sample: its value, and the values of the family's labels.
type put func(v float64, labels ...string)

// family is a metric.
type family struct {
	name   string
	kind   prometheus.ValueType
	help   string
	labels []string
	of     func(*reading, put)
}

func (f *family) desc() *prometheus.Desc { return prometheus.NewDesc(f.name, f.help, f.labels, nil) }

const (
	gauge   = prometheus.GaugeValue
	counter = prometheus.CounterValue
)

// perContainer are the labels of what is told of each container.
var perContainer = []string{"namespace", "id"}

// families are all metrics but the histogram of calls.
var families = []family{
	{"foundry_build_info", gauge, "The version of the server; always 1.", []string{"version"},
		func(r *reading, put put) { put(1, r.about.Version) }},
	{"foundry_start_time_seconds", gauge, "When the server was started, in seconds since 1970.", nil,
		func(r *reading, put put) { put(float64(r.about.Started.UnixNano()) / 1e9) }},
	{"foundry_creates_total", counter, "Containers that were created.", nil,
		func(r *reading, put put) { put(float64(r.created.Load())) }},
	{"foundry_creates_failed_total", counter, "Creates that failed, and were undone.", nil,
		func(r *reading, put put) { put(float64(r.failed.Load())) }},
	{"foundry_deletes_failed_total", counter, "Deletes of containers and execs that left something behind; they can be tried again.", nil,
		func(r *reading, put put) { put(float64(r.undeleted.Load())) }},
	{"foundry_oom_events_total", counter, "Times that containerd was told of OOM kills.", nil,
		func(r *reading, put put) { put(float64(r.ooms.Load())) }},
	{"foundry_exits_total", counter, "Processes that ended: inits and execs.", []string{"process"},
		func(r *reading, put put) {
			put(float64(r.exits.Load()), "init")
			put(float64(r.execExits.Load()), "exec")
		}},
	{"foundry_containers", gauge, "Containers by state.", []string{"state"},
		func(r *reading, put put) {
			for p := Creating; p < Deleted; p++ {
				put(float64(r.states[p]), p.String())
			}
		}},
	{"foundry_execs", gauge, "Execs that run.", nil,
		func(r *reading, put put) { put(float64(r.execs)) }},
	{"foundry_events_queued", gauge, "Events that containerd has not taken yet.", nil,
		func(r *reading, put put) { put(float64(r.queued)) }},
	{"foundry_events_delivered_total", counter, "Events that containerd has taken.", nil,
		func(r *reading, put put) { put(float64(r.delivered)) }},
	{"foundry_events_retries_total", counter, "Attempts to deliver an event after its first.", nil,
		func(r *reading, put put) { put(float64(r.retries)) }},
	{"foundry_events_lost_total", counter, "Events that were given up.", nil,
		func(r *reading, put put) { put(float64(r.given)) }},
	{"foundry_streams", gauge, "Open streams of containers.", nil,
		func(r *reading, put put) { put(float64(r.pump.Streams)) }},
	{"foundry_stream_bytes_total", counter, "Bytes carried between containers and clients.", nil,
		func(r *reading, put put) { put(float64(r.pump.Moved)) }},
	{"foundry_output_lost_bytes_total", counter, "Bytes of output that nobody got.", nil,
		func(r *reading, put put) { put(float64(r.pump.Lost)) }},
	{"foundry_stream_stalls_total", counter, "Calls on a stream that did not come back in time.", nil,
		func(r *reading, put put) { put(float64(r.pump.Stuck)) }},
	{"foundry_output_rings", gauge, "Streams whose output is kept because nobody takes it.", nil,
		func(r *reading, put put) { put(float64(r.pump.Rings)) }},
	{"foundry_output_kept_bytes", gauge, "Memory of kept output.", nil,
		func(r *reading, put put) { put(float64(r.pump.Kept)) }},
	{"foundry_spans_sent_total", counter, "Spans that the collector has taken.", nil,
		func(r *reading, put put) { put(float64(r.spans)) }},
	{"foundry_spans_lost_total", counter, "Spans that were dropped.", nil,
		func(r *reading, put put) { put(float64(r.lostSpans)) }},
	{"foundry_spawner_orphans_total", counter, "Processes that were left to the spawner and reaped by it.", nil,
		func(r *reading, put put) {
			if r.runtime != nil {
				put(float64(r.runtime.Orphans()))
			}
		}},
	{"foundry_container_output_lost_bytes_total", counter, "Bytes of output that nobody got, of containers that lost some.",
		[]string{"namespace", "id", "stream"}, putLosses},
	{"foundry_goroutines", gauge, "Goroutines of the server.", nil,
		func(_ *reading, put put) { put(float64(goruntime.NumGoroutine())) }},
	{"foundry_open_fds", gauge, "Descriptors of the server.", nil,
		func(_ *reading, put put) {
			if fds, err := os.ReadDir("/proc/self/fd"); err == nil {
				put(float64(len(fds) - 1)) // one read the directory
			}
		}},
	{"foundry_max_fds", gauge, "How many descriptors the server may have.", nil,
		func(_ *reading, put put) {
			var limit syscall.Rlimit
			if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) == nil {
				put(float64(limit.Cur))
			}
		}},
	{"foundry_heap_bytes", gauge, "Memory of the server's live and not yet collected objects.", nil,
		func(r *reading, put put) { put(float64(r.heap)) }},
	{"foundry_go_memory_bytes", gauge, "Memory that the Go runtime of the server has mapped.", nil,
		func(r *reading, put put) { put(float64(r.total)) }},
	{"foundry_cpu_seconds_total", counter, "Processor time of the server.", nil,
		func(_ *reading, put put) {
			var use syscall.Rusage
			if syscall.Getrusage(syscall.RUSAGE_SELF, &use) == nil {
				put(time.Duration(use.Utime.Nano() + use.Stime.Nano()).Seconds())
			}
		}},
	{"foundry_container_cpu_seconds_total", counter, "Processor time of a container.", perContainer,
		each(func(u *view.Usage) (float64, bool) { return u.CPU.Seconds(), true })},
	{"foundry_container_throttled_seconds_total", counter, "Time that a container was held back by its limit of processor time.", perContainer,
		each(func(u *view.Usage) (float64, bool) { return u.Throttled.Seconds(), true })},
	{"foundry_container_memory_bytes", gauge, "Memory of a container, caches included.", perContainer,
		each(func(u *view.Usage) (float64, bool) { return float64(u.Memory), true })},
	{"foundry_container_memory_limit_bytes", gauge, "Limit of memory, of containers that have one.", perContainer,
		each(func(u *view.Usage) (float64, bool) { return float64(u.MemoryLimit), u.MemoryLimit > 0 })},
	{"foundry_container_swap_bytes", gauge, "Swap of a container.", perContainer,
		each(func(u *view.Usage) (float64, bool) { return float64(u.Swap), true })},
	{"foundry_container_oom_kills_total", counter, "Processes of a container that were killed for memory.", perContainer,
		each(func(u *view.Usage) (float64, bool) { return float64(u.OOMKills), true })},
	{"foundry_container_pids", gauge, "Tasks (processes and threads) in a container.", perContainer,
		each(func(u *view.Usage) (float64, bool) { return float64(u.Pids), true })},
	{"foundry_container_read_bytes_total", counter, "Bytes that a container has read from block devices.", perContainer,
		each(func(u *view.Usage) (float64, bool) { return float64(u.ReadBytes), true })},
	{"foundry_container_written_bytes_total", counter, "Bytes that a container has written to block devices.", perContainer,
		each(func(u *view.Usage) (float64, bool) { return float64(u.WriteBytes), true })},
	{"foundry_container_pressure_seconds_total", counter,
		"Time that some, or all, processes of a container stood still for want of a resource.",
		[]string{"namespace", "id", "resource", "kind"}, putPressure},
	{"foundry_containers_unmeasured", gauge, "Containers without figures in this scrape: just made, or not read in time.", nil,
		func(r *reading, put put) { put(float64(r.unmeasured)) }},
}

// putLosses names the containers whose output was lost.
func putLosses(r *reading, put put) {
	for _, l := range r.Losses() {
		for stream, n := range map[string]uint64{"stdout": l.Stdout, "stderr": l.Stderr} {
			if n > 0 {
				put(float64(n), l.Namespace, l.ID, stream)
			}
		}
	}
}

// each asks for a figure of each container.
func each(of func(*view.Usage) (float64, bool)) func(*reading, put) {
	return func(r *reading, put put) {
		for _, c := range r.containers {
			if v, ok := of(c.Usage); ok {
				put(v, c.Namespace, c.ID)
			}
		}
	}
}

func putPressure(r *reading, put put) {
	for _, c := range r.containers {
		for _, what := range []string{"cpu", "io", "memory"} {
			if p := c.Usage.Pressure[what]; p != nil {
				put(p.Some.Seconds(), c.Namespace, c.ID, what, "some")
				put(p.Full.Seconds(), c.Namespace, c.ID, what, "full")
			}
		}
	}
}
