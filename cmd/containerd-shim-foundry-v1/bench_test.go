// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"
)

const minimal = `package main

import "os"

func main() { os.Stdout.WriteString("hello\n") }
`

// BenchmarkStart compares `start` against a live server with the least that a
// Go program can be: whole processes, from fork to exit, called as containerd
// calls them, one after the other. The ratio of the medians is the number to
// read; our budget is 1.5.
func BenchmarkStart(b *testing.B) {
	h := newHouse(b)
	source := h.bin + "/hello.go"
	if err := os.WriteFile(source, []byte(minimal), 0o600); err != nil {
		b.Fatal(err)
	}
	build := exec.Command("go", "build", "-ldflags", "-s -w", "-o", h.bin+"/hello", source)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	bundle, params := b.TempDir(), bootstrapParams(b, nil)
	h.start(params)
	var hello, start []time.Duration
	for b.Loop() {
		least := h.command(bundle, params, "start")
		least.Path = h.bin + "/hello"
		hello = append(hello, took(b, least))
		start = append(start, took(b, h.command(bundle, params, "start")))
	}
	slices.Sort(hello)
	slices.Sort(start)
	half := len(start) / 2
	b.ReportMetric(float64(start[half])/float64(hello[half]), "x-minimal")
}

func took(b *testing.B, cmd *exec.Cmd) time.Duration {
	b.Helper()
	begin := time.Now()
	out, err := cmd.CombinedOutput()
	d := time.Since(begin)
	if err != nil || bytes.Contains(out, []byte("containerd-shim")) {
		b.Fatalf("%v: %s", err, out)
	}
	return d
}
