// SPDX-License-Identifier: Apache-2.0

package spawn

import (
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// lives runs one life after the other and reports their median, which other
// load on the machine disturbs less than their mean.
func (w *world) lives(b *testing.B, r Request) {
	var took []time.Duration
	for b.Loop() {
		r.Key = w.keys.Add(1)
		start := time.Now()
		w.life(b, r)
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2]), "p50-ns/op")
	b.ReportMetric(float64(took[0]), "min-ns/op")
}

// life is spawn, exec, exit, acknowledgement.
func (w *world) life(b *testing.B, r Request) {
	p, err := w.client.Spawn(b.Context(), r)
	if err != nil {
		b.Fatal(err)
	}
	for {
		point, err := p.Sync(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		if point == PointExec {
			break
		}
		if err := p.Go(); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.client.Ack(<-w.exits); err != nil {
		b.Fatal(err)
	}
	p.Close()
}

// BenchmarkTrue: a program of the host through the spawner.
func BenchmarkTrue(b *testing.B) {
	w := newWorld(b, 16)
	w.lives(b, Request{Plan: hostPlan("true")})
}

// BenchmarkForkTrue: the same by a small C program's fork, exec and wait: what
// the kernel asks for it.
func BenchmarkForkTrue(b *testing.B) {
	b.StopTimer()
	program := compile(b, `
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
int main(int argc, char **argv) {
	for (int n = atoi(argv[1]); n > 0; n--) {
		pid_t p = fork();
		if (p == 0) { execl("/bin/busybox", "true", (char *)0); _exit(1); }
		waitpid(p, 0, 0);
	}
	return 0;
}`)
	b.StartTimer()
	if err := exec.Command(program, itoa(b.N)).Run(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkGoTrue: the same by os/exec, from this small Go process.
func BenchmarkGoTrue(b *testing.B) {
	for b.Loop() {
		if err := exec.Command(busybox, "true").Run(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkContainer(b *testing.B) {
	w := newWorld(b, 16)
	p := newContainer(b, "true").plan(b)
	w.lives(b, Request{Plan: p, Files: filesOf(p, nil, nil)})
}

// BenchmarkUserNamespace: the same with users of its own, and idmapped mounts.
func BenchmarkUserNamespace(b *testing.B) {
	w := newWorld(b, 16)
	u := newUserns(b, "")
	u.args = []string{"true"}
	w.lives(b, Request{Plan: u.plan(), Files: make([]*os.File, 3)})
}

func BenchmarkExec(b *testing.B) {
	w := newWorld(b, 16)
	c := newContainer(b, "sleep", "1000")
	init := w.spawn(c.plan(b))
	w.run(init)
	p := c.exec(b, specs.Process{}, "true")
	w.lives(b, Request{Plan: p, Files: filesOf(p, nil, init.Pidfd)})
	_ = init.Signal(syscall.SIGKILL)
}
