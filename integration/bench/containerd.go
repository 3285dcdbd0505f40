// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/oci"
)

// Subject is a runtime behind a containerd.
type Subject struct {
	Client  *client.Client
	Image   client.Image // unpacked
	Runtime string       // io.containerd.foundry.v1
}

// container makes one without a task. Limits and the oom score stay as they
// are: a host without CAP_SYS_RESOURCE refuses the usual ones to any runtime.
func (s Subject) container(ctx context.Context, args ...string) (client.Container, error) {
	id := "bench-" + rand.Text()
	opts := []oci.SpecOpts{oci.WithDefaultSpec(), oci.WithDefaultUnixDevices, oci.WithImageConfig(s.Image), oci.WithProcessArgs(args...),
		func(_ context.Context, _ oci.Client, _ *containers.Container, spec *oci.Spec) error {
			spec.Process.Rlimits, spec.Process.OOMScoreAdj = nil, nil
			return nil
		}}
	c, err := s.Client.NewContainer(ctx, id, client.WithNewSnapshot(id, s.Image), client.WithNewSpec(opts...), client.WithRuntime(s.Runtime, nil))
	if err != nil {
		return nil, fmt.Errorf("new container of %s: %w", s.Runtime, err)
	}
	return c, nil
}

// Lives runs n containers of /bin/true, some of them at the same time, and
// returns what each step took and the time of all.
func (s Subject) Lives(ctx context.Context, n, parallel int) (Series, time.Duration, error) {
	made := make([]client.Container, n)
	defer func() {
		for _, c := range made {
			if c != nil {
				_ = c.Delete(ctx, client.WithSnapshotCleanup)
			}
		}
	}()
	for i := range made {
		var err error
		if made[i], err = s.container(ctx, "/bin/true"); err != nil {
			return nil, 0, err
		}
	}
	return spread(n, parallel, func(i int) (Series, error) { return life(ctx, made[i]) })
}

func life(ctx context.Context, c client.Container) (Series, error) {
	w := stopwatch{last: time.Now(), series: Series{}}
	task, err := c.NewTask(ctx, cio.NullIO)
	if err != nil {
		return nil, fmt.Errorf("create: %w", err)
	}
	w.lap("create")
	exit, err := task.Wait(ctx)
	if err != nil {
		return nil, fmt.Errorf("wait: %w", err)
	}
	w.lap("wait")
	if err := task.Start(ctx); err != nil {
		return nil, fmt.Errorf("start: %w", err)
	}
	w.lap("start")
	if status := <-exit; status.ExitCode() != 0 || status.Error() != nil {
		return nil, fmt.Errorf("exit: %d, %w", status.ExitCode(), status.Error())
	}
	w.lap("exit")
	if _, err := task.Delete(ctx); err != nil {
		return nil, fmt.Errorf("delete: %w", err)
	}
	w.lap("delete")
	return w.total(), nil
}

// Execs runs n times /bin/true in one container.
func (s Subject) Execs(ctx context.Context, n, parallel int) (Series, time.Duration, error) {
	task, clean, err := s.sleeper(ctx)
	if err != nil {
		return nil, 0, err
	}
	defer clean()
	spec, err := task.Spec(ctx)
	if err != nil {
		return nil, 0, err
	}
	process := *spec.Process
	process.Args = []string{"/bin/true"}
	return spread(n, parallel, func(i int) (Series, error) {
		w := stopwatch{last: time.Now(), series: Series{}}
		p, err := task.Exec(ctx, fmt.Sprintf("exec-%d", i), &process, cio.NullIO)
		if err != nil {
			return nil, fmt.Errorf("exec: %w", err)
		}
		exit, err := p.Wait(ctx)
		if err != nil {
			return nil, fmt.Errorf("wait for exec: %w", err)
		}
		if err := p.Start(ctx); err != nil {
			return nil, fmt.Errorf("start exec: %w", err)
		}
		w.lap("start")
		if status := <-exit; status.ExitCode() != 0 || status.Error() != nil {
			return nil, fmt.Errorf("exit of exec: %d, %w", status.ExitCode(), status.Error())
		}
		w.lap("exit")
		if _, err := p.Delete(ctx); err != nil {
			return nil, fmt.Errorf("delete exec: %w", err)
		}
		w.lap("delete")
		return w.total(), nil
	})
}

// sleeper is a running container and what removes it.
func (s Subject) sleeper(ctx context.Context) (client.Task, func(), error) {
	c, err := s.container(ctx, "/bin/sleep", "1000000")
	if err != nil {
		return nil, nil, err
	}
	remove := func() { _ = c.Delete(ctx, client.WithSnapshotCleanup) }
	task, err := c.NewTask(ctx, cio.NullIO)
	if err != nil {
		remove()
		return nil, nil, fmt.Errorf("create: %w", err)
	}
	end := func() {
		_ = task.Kill(ctx, syscall.SIGKILL)
		_, _ = task.Delete(ctx, client.WithProcessKill)
		remove()
	}
	if err := task.Start(ctx); err != nil {
		end()
		return nil, nil, fmt.Errorf("start: %w", err)
	}
	return task, end, nil
}

// Idle starts sleeping containers and calls at for each wanted number of them,
// smallest first. All are gone when it returns.
func (s Subject) Idle(ctx context.Context, numbers []int, at func(n int)) error {
	var running []func()
	defer func() {
		for _, end := range running {
			end()
		}
	}()
	for _, n := range numbers {
		for len(running) < n {
			_, end, err := s.sleeper(ctx)
			if err != nil {
				return err
			}
			running = append(running, end)
		}
		at(n)
	}
	return nil
}

// spread does n things, as many at a time as said, and gathers their times.
func spread(n, parallel int, do func(i int) (Series, error)) (Series, time.Duration, error) {
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		all   = Series{}
		first error
		work  = make(chan int)
		begin = time.Now()
	)
	for range parallel {
		wg.Go(func() {
			for i := range work {
				one, err := do(i)
				mu.Lock()
				all.Add(one)
				if first == nil {
					first = err
				}
				mu.Unlock()
			}
		})
	}
	for i := range n {
		work <- i
	}
	close(work)
	wg.Wait()
	return all, time.Since(begin), first
}

// stopwatch takes the times of one life.
type stopwatch struct {
	last   time.Time
	series Series
	sum    time.Duration
}

func (w *stopwatch) lap(name string) {
	now := time.Now()
	w.series[name] = append(w.series[name], now.Sub(w.last))
	w.sum += now.Sub(w.last)
	w.last = now
}

func (w *stopwatch) total() Series {
	w.series["total"] = []time.Duration{w.sum}
	return w.series
}
