// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"foundry/integration/env"
)

const (
	foundry = "io.containerd.foundry.v1"
	runc    = "io.containerd.runc.v2"
	noop    = "io.containerd.noop.v1"
)

// size is how much is measured. Rounds interleave the runtimes.
type size struct {
	rounds, direct, lives, execs, parallel, at int
	idle                                       []int
}

var (
	full  = size{rounds: 9, direct: 40, lives: 20, execs: 25, parallel: 64, at: 32, idle: []int{1, 10, 100}}
	quick = size{rounds: 1, direct: 10, lives: 6, execs: 8, parallel: 32, at: 16, idle: []int{1, 10}}
	slope = size{idle: full.idle} // what containers hold, and nothing of what takes time
)

// gap is long enough that the next cgroup v1 attach waits for an RCU grace
// period: what a container costs on a host where few are started.
const gap = 60 * time.Millisecond

// BenchmarkContainers is `make bench`: one containerd, all runtimes, one table.
// It measures once, whatever b.N.
func BenchmarkContainers(b *testing.B) {
	s := full
	switch os.Getenv("FOUNDRY_BENCH") {
	case "quick":
		s = quick
	case "memory":
		s = slope
	}
	h := newHall(b)
	for round := range s.rounds {
		b.Logf("round %d of %d", round+1, s.rounds)
		h.round(b, s)
	}
	for _, r := range h.runtimes {
		if r != noop {
			h.memory(b, r, s.idle)
		}
	}
	h.report(b, s)
}

// hall is where the measuring takes place.
type hall struct {
	d        *env.Daemon
	ctx      context.Context
	floor    floor
	rootfs   string
	runtimes []string
	results  *results
}

func newHall(b *testing.B) *hall {
	b.Helper()
	programs := b.TempDir()
	build := exec.Command("go", "build", "-ldflags", "-s -w", "-o", programs+"/containerd-shim-noop-v1", "./noop")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("build the noop shim: %v\n%s", err, out)
	}
	d := env.Containerd(b, env.Config{Path: []string{programs}})
	h := &hall{d: d, ctx: d.LongContext(b), rootfs: d.Dir + "/rootfs", results: newResults(),
		runtimes: strings.Split(cmp.Or(os.Getenv("FOUNDRY_BENCH_RUNTIMES"), foundry+","+runc+","+noop), ",")}
	if err := unpack(h.rootfs); err != nil {
		b.Fatal(err)
	}
	h.floor = newFloor(b, programs, h.rootfs)
	for _, r := range h.runtimes { // first lives, which start servers and fill caches
		if _, _, err := h.subject(r).Lives(h.ctx, 2, 1); err != nil {
			b.Fatal(err)
		}
	}
	return h
}

func (h *hall) subject(runtime string) Subject {
	return Subject{Client: h.d.Client, Image: h.d.Image, Runtime: runtime}
}

// round measures every runtime once at everything.
func (h *hall) round(b *testing.B, s size) {
	h.results.warmFloor = append(h.results.warmFloor, h.floor.lives(b, s.direct, 0))
	h.results.coldFloor = append(h.results.coldFloor, h.floor.lives(b, s.direct/2, gap))
	for _, r := range h.runtimes {
		if r == noop {
			continue // it makes no containers: nothing to compare
		}
		warm, err := h.taskAPI(b, r).Lives(h.ctx, s.direct, 0)
		h.keep(b, r, "task", warm, err)
		cold, err := h.taskAPI(b, r).Lives(h.ctx, s.direct/2, gap)
		h.keep(b, r, "task-cold", cold, err)
	}
	for _, r := range h.runtimes {
		series, _, err := h.subject(r).Lives(h.ctx, s.lives, 1)
		h.keep(b, r, "life", series, err)
	}
	for _, r := range h.runtimes {
		if r == noop {
			continue
		}
		series, _, err := h.subject(r).Execs(h.ctx, s.execs, 1)
		h.keep(b, r, "exec", series, err)
	}
	for _, r := range h.runtimes {
		series, took, err := h.subject(r).Lives(h.ctx, s.parallel, s.at)
		h.keep(b, r, "parallel", series, err)
		h.results.rate[r] = append(h.results.rate[r], float64(s.parallel)/took.Seconds())
	}
}

func (h *hall) keep(b *testing.B, runtime, what string, s Series, err error) {
	b.Helper()
	if err != nil {
		b.Fatalf("%s of %s: %v", what, runtime, err)
	}
	h.results.of(runtime, what).Add(s)
}

func (h *hall) taskAPI(b *testing.B, runtime string) TaskAPI {
	b.Helper()
	programs := map[string]string{foundry: env.Bin(b) + "/containerd-shim-foundry-v1", runc: env.Tools(b) + "/containerd-shim-runc-v2"}
	return TaskAPI{Shim: programs[runtime], Rootfs: h.rootfs, Bundles: h.d.Dir + "/bundles", Address: h.d.Address,
		Namespace: h.d.Namespace, SocketDir: h.d.Dir + "/s", Env: []string{"FOUNDRY_ROOT=" + h.d.Dir + "/f"}}
}

// memory notes what the processes behind a number of idle containers hold.
// Those that were there before belong to other runtimes, but for Foundry's own
// server: it is counted whole.
func (h *hall) memory(b *testing.B, runtime string, numbers []int) {
	b.Helper()
	others := map[int]bool{}
	for _, pid := range h.d.ShimPids() {
		others[pid] = runtime != foundry || !h.isFoundry(pid)
	}
	err := h.subject(runtime).Idle(h.ctx, numbers, func(n int) {
		time.Sleep(6 * time.Second) // not to synchronise: to let the garbage collector, and the server, rest
		var pids []int
		for _, pid := range h.d.ShimPids() {
			if !others[pid] {
				pids = append(pids, pid)
			}
		}
		h.results.addMemory(runtime, n, MemoryOf(pids))
	})
	if err != nil {
		b.Fatalf("idle containers of %s: %v", runtime, err)
	}
}

func (h *hall) isFoundry(pid int) bool {
	for _, s := range h.d.Servers() {
		if pid == s.Pid || pid == s.Spawner {
			return true
		}
	}
	return false
}

func (h *hall) report(b *testing.B, s size) {
	h.results.print(os.Stdout)
	if file := os.Getenv("FOUNDRY_BENCH_JSON"); file != "" {
		if err := h.results.writeJSON(file); err != nil {
			b.Fatal(err)
		}
	}
	if r := h.results.ratio(runc, foundry, "life"); r > 0 {
		b.ReportMetric(r, "x-runc")
	}
}

// unpack makes a root directory of the busybox image's layer.
func unpack(dir string) error {
	var archive bytes.Buffer
	if err := env.BusyboxImage(&archive, env.ImageName); err != nil {
		return err
	}
	layer, err := lastMember(&archive)
	if err != nil {
		return err
	}
	for t := tar.NewReader(bytes.NewReader(layer)); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		path := filepath.Join(dir, h.Name)
		switch h.Typeflag {
		case tar.TypeDir:
			err = os.MkdirAll(path, 0o755)
		case tar.TypeSymlink:
			err = os.Symlink(h.Linkname, path)
		default:
			b, rerr := io.ReadAll(t)
			err = errors.Join(rerr, os.WriteFile(path, b, fs.FileMode(h.Mode)))
		}
		if err != nil {
			return fmt.Errorf("unpack %s: %w", h.Name, err)
		}
	}
}

// lastMember of the image archive is its layer.
func lastMember(r io.Reader) ([]byte, error) {
	var last []byte
	for t := tar.NewReader(r); ; {
		_, err := t.Next()
		if errors.Is(err, io.EOF) {
			return last, nil
		}
		if err != nil {
			return nil, err
		}
		if last, err = io.ReadAll(t); err != nil {
			return nil, err
		}
	}
}
