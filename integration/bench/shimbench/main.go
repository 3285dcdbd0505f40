// SPDX-License-Identifier: Apache-2.0

// Command shimbench measures a runtime on a containerd that already runs:
//
//	shimbench -address /run/containerd/containerd.sock -runtime io.containerd.foundry.v1 -mode life -n 100
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/namespaces"

	"foundry/integration/bench"
)

func main() {
	address := flag.String("address", "/run/containerd/containerd.sock", "containerd's socket")
	namespace := flag.String("namespace", "bench", "containerd namespace")
	image := flag.String("image", "docker.io/library/busybox:latest", "an image that containerd has, with /bin/true")
	runtime := flag.String("runtime", "io.containerd.foundry.v1", "runtime to measure")
	mode := flag.String("mode", "life", "life or exec")
	n := flag.Int("n", 50, "how many")
	parallel := flag.Int("parallel", 1, "how many at a time")
	flag.Parse()
	err := func() error {
		c, err := client.New(*address)
		if err != nil {
			return err
		}
		defer c.Close()
		ctx := namespaces.WithNamespace(context.Background(), *namespace)
		i, err := c.GetImage(ctx, *image)
		if err != nil {
			return err
		}
		if err := i.Unpack(ctx, ""); err != nil {
			return err
		}
		return measure(ctx, bench.Subject{Client: c, Image: i, Runtime: *runtime}, *mode, *n, *parallel)
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, "shimbench:", err)
		os.Exit(1)
	}
}

func measure(ctx context.Context, s bench.Subject, mode string, n, parallel int) error {
	do := map[string]func(context.Context, int, int) (bench.Series, time.Duration, error){"life": s.Lives, "exec": s.Execs}[mode]
	if do == nil {
		return fmt.Errorf("no mode %q: life or exec", mode)
	}
	series, took, err := do(ctx, n, parallel)
	if err != nil {
		return err
	}
	out := map[string]any{"runtime": s.Runtime, "mode": mode, "parallel": parallel, "per_second": float64(n) / took.Seconds()}
	for key := range series {
		out[key] = series.Summarize(key)
	}
	return json.NewEncoder(os.Stdout).Encode(out)
}
