// SPDX-License-Identifier: Apache-2.0

package netbench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"foundry/integration/env"
)

// size is how much is measured.
type size struct {
	rounds int
	warm   time.Duration // before each window
	window time.Duration
	frames uint32 // of a run with live frames
	attach int    // containers
}

var (
	full  = size{rounds: 9, warm: 100 * time.Millisecond, window: 700 * time.Millisecond, frames: 1 << 20, attach: 40}
	quick = size{rounds: 3, warm: 30 * time.Millisecond, window: 100 * time.Millisecond, frames: 1 << 18, attach: 5}
)

func sizeOfRun() size {
	if os.Getenv("FOUNDRY_BENCH") == "quick" {
		return quick
	}
	return full
}

// measures are what is asked of the load program, and what of its answers is kept.
var measures = []struct {
	words string
	keep  func(*Results, string, sent)
}{
	{"stream", func(r *Results, way string, s sent) {
		r.Add(Stream, way, s.Bits/s.Seconds)
		r.Add(CPU, way, s.CPU/s.Bits*1e9)
	}},
	{"stream -flows 8", func(r *Results, way string, s sent) {
		r.Add(Streams, way, s.Bits/s.Seconds)
		r.Add(CPUs, way, s.CPU/s.Bits*1e9)
	}},
	{"rr", func(r *Results, way string, s sent) { r.Add(RR, way, s.P50) }},
	{"crr", func(r *Results, way string, s sent) { r.Add(CRR, way, s.Count/s.Seconds) }},
	{"udp", func(r *Results, way string, s sent) { r.Add(UDP, way, s.Count/s.Seconds) }},
}

// BenchmarkNetwork is `make bench-net`. It measures once, whatever b.N.
func BenchmarkNetwork(b *testing.B) {
	env.RequireRoot(b)
	s, r := sizeOfRun(), NewResults()
	r.Rounds = s.rounds
	h := newHall(b)
	r.Load, r.Busy = append(r.Load, loadAverage(b)), others(b)
	for round := range s.rounds {
		for _, m := range measures {
			for i := range h.ways {
				w := h.ways[(i+round)%len(h.ways)]
				words := strings.Fields(m.words)
				words = append([]string{words[0], addrB, "-warm", s.warm.String(), "-for", s.window.String()}, words[1:]...)
				m.keep(r, w.name, w.a.send(h.load, words...))
			}
		}
		r.Load = append(r.Load, loadAverage(b))
	}
	programs(b, r, s)
	attaching(b, r, s.attach)
	r.Print(os.Stdout)
	if file := os.Getenv("FOUNDRY_BENCH_JSON"); file != "" {
		if err := r.Write(file); err != nil {
			b.Fatal(err)
		}
	}
	if broken := r.Broken(); broken != "" {
		b.Errorf("slower than what must never be:\n%s", broken)
	}
}

// hall is where the measuring takes place.
type hall struct {
	load string // the program
	ways []way
}

func newHall(b *testing.B) *hall {
	b.Helper()
	dir := b.TempDir()
	h := &hall{load: filepath.Join(dir, "load")}
	build := exec.Command("go", "build", "-o", h.load, "./load")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if err := output(build); err != nil {
		b.Fatalf("build load: %v", err)
	}
	h.ways = newWays(b, bpffs(b))
	for _, w := range h.ways {
		w.b.serve(h.load, addrB)
	}
	return h
}

// bpffs mounts one.
func bpffs(b *testing.B) string {
	b.Helper()
	dir := b.TempDir()
	if err := unix.Mount("bpf", dir, "bpf", 0, ""); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			b.Error(err)
		}
	})
	return dir
}

// programs measures them, without senders and receivers.
func programs(b *testing.B, r *Results, s size) {
	b.Helper()
	mount := bpffs(b)
	g, fdb := newGauge(b, filepath.Join(mount, "gauge"), 0), tables(b, mount)
	for range s.rounds {
		g.costs(r, s.frames)
		for name, t := range fdb {
			r.FDB[name] = append(r.FDB[name], t.rate(s.frames))
		}
	}
}

// BenchmarkPrograms is the part of BenchmarkNetwork that needs no senders.
func BenchmarkPrograms(b *testing.B) {
	env.RequireRoot(b)
	r := NewResults()
	programs(b, r, sizeOfRun())
	r.Print(os.Stdout)
}

// others is how many processors are busy while nothing is measured.
func others(b *testing.B) float64 {
	b.Helper()
	ticks := func() (busy float64) {
		text, err := os.ReadFile("/proc/stat")
		if err != nil {
			b.Fatal(err)
		}
		var user, nice, system, idle, wait, irq, softirq float64
		if _, err := fmt.Sscanf(string(text), "cpu %f %f %f %f %f %f %f", &user, &nice, &system, &idle, &wait, &irq, &softirq); err != nil {
			b.Fatalf("read /proc/stat: %v", err)
		}
		return user + nice + system + irq + softirq
	}
	const perSecond = 100
	before := ticks()
	time.Sleep(time.Second) // to see what others do in it
	return (ticks() - before) / perSecond
}

func loadAverage(b *testing.B) float64 {
	b.Helper()
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		b.Fatal(err)
	}
	first, _, _ := strings.Cut(string(text), " ")
	f, err := strconv.ParseFloat(first, 64)
	if err != nil {
		b.Fatal(fmt.Errorf("read load average: %w", err))
	}
	return f
}
