// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/oci"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"foundry/integration/env"
)

// storm is how many containers and execs a storm has.
func storm() int {
	if testing.Short() {
		return 100
	}
	return 1000
}

// A thousand lives of a moment with execs on their heels, then a thousand
// execs in one container. Nobody gets a wrong code, no event is lost or out of
// order, and afterwards there is no more of anything than before. Stories 2709,
// 8557, 9719, 10589 and 13814 of containerd are each one way to fail here.
func TestStorm(t *testing.T) {
	d := env.Containerd(t, env.Config{})
	quiet := d.StartTask(t, sleeper(t, d))
	// What is made at the first use is no leak.
	calm(t, d, quiet)
	before := d.Footprint(t)
	events := watch(t, d)
	stormOfLives(t, d, events)
	stormOfExecs(t, d, events, quiet)
	d.CheckFootprint(t, before)
}

func calm(t *testing.T, d *env.Daemon, quiet client.Task) {
	t.Helper()
	parallel(8, 16, func(int) string {
		if err := newLife(0).live(t, d); err != nil {
			t.Error(err)
		}
		if _, err := d.TryExec(d.Context(t), quiet, "/bin/true"); err != nil {
			t.Error(err)
		}
		return ""
	})
}

func stormOfLives(t *testing.T, d *env.Daemon, events *seen) {
	t.Helper()
	lives := make([]*life, storm())
	parallel(16, len(lives), func(i int) string {
		lives[i] = newLife(i)
		if err := lives[i].live(t, d); err != nil {
			t.Errorf("%s: %v", lives[i].id, err)
		}
		return ""
	})
	started, late := 0, 0
	for _, l := range lives {
		if l.task {
			words := events.until(t, l.id, "delete")
			if wrong := l.wrong(words, events); wrong != "" {
				t.Errorf("%s: %s in %q", l.id, wrong, words)
			}
		}
		for _, e := range l.execs {
			if e.started {
				started++
			} else {
				late++
			}
		}
	}
	t.Logf("%d lives; of their execs %d came in time, %d too late", len(lives), started, late)
	if started == 0 || late == 0 {
		t.Errorf("no race: %d execs came in time, %d too late", started, late)
	}
}

// life is one container that ends at once, and what its client knows of it.
type life struct {
	early bool          // the execs come before init is started, else when it has been
	lead  time.Duration // of the execs, to be sometimes in time and sometimes not
	opts  []oci.SpecOpts
	id    string
	task  bool // it was created
	execs []*racer
}

// newLife is the i-th kind of life. One in four shares the host's pid
// namespace, where not the kernel but the shim must end what init leaves.
func newLife(i int) *life {
	l := &life{early: i%2 == 0, lead: time.Duration(i%16) * time.Millisecond}
	if i%4 > 1 {
		l.opts = []oci.SpecOpts{oci.WithHostNamespace(specs.PIDNamespace)}
	}
	// One that ends by itself, one that does not.
	l.execs = []*racer{{id: "short", args: []string{"/bin/true"}, codes: []int{0, 137}},
		{id: "long", args: []string{"/bin/sleep", "100000"}, codes: []int{137}}}
	return l
}

// racer is an exec that tries to get in while init ends.
type racer struct {
	id             string
	args           []string
	codes          []int // that it may have
	added, started bool
	code           int
}

func (l *life) live(t *testing.T, d *env.Daemon) error {
	ctx := d.Context(t)
	c, err := d.NewContainer(ctx, env.ContainerConfig{Args: []string{"/bin/true"}, Opts: l.opts})
	if err != nil {
		return fmt.Errorf("container: %w", err)
	}
	l.id = c.ID()
	err = l.run(ctx, c)
	if derr := c.Delete(ctx, client.WithSnapshotCleanup); err == nil && derr != nil {
		err = fmt.Errorf("delete container: %w", derr)
	}
	return err
}

func (l *life) run(ctx context.Context, c client.Container) error {
	task, err := c.NewTask(ctx, nullIO)
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	l.task = true
	exit, err := task.Wait(ctx)
	if err != nil {
		return fmt.Errorf("wait: %w", err)
	}
	if err := l.race(ctx, task); err != nil {
		return err
	}
	select {
	case status := <-exit:
		if status.ExitCode() != 0 || status.Error() != nil {
			return fmt.Errorf("exit: got %d, %v, want 0", status.ExitCode(), status.Error())
		}
	case <-ctx.Done():
		return fmt.Errorf("no exit: %w", ctx.Err())
	}
	_, err = task.Delete(ctx)
	return err
}

// race starts init and the execs, and returns when those have ended.
func (l *life) race(ctx context.Context, task client.Task) error {
	spec, err := task.Spec(ctx)
	if err != nil {
		return err
	}
	errs := make([]error, len(l.execs)+1)
	var added, done sync.WaitGroup
	goAhead := make(chan struct{})
	for i, e := range l.execs {
		process := *spec.Process
		process.Args = e.args
		added.Add(1)
		done.Go(func() {
			if !l.early {
				<-goAhead
			}
			p, err := task.Exec(ctx, e.id, &process, nullIO)
			e.added = err == nil
			added.Done()
			<-goAhead
			if e.added { // else it came too late; it may not hang
				errs[i] = e.run(ctx, p)
			}
		})
	}
	if l.early {
		added.Wait()
		close(goAhead)
		time.Sleep(l.lead)
	}
	errs[len(l.execs)] = task.Start(ctx)
	if !l.early {
		close(goAhead)
	}
	done.Wait()
	return errors.Join(errs...)
}

// run starts an exec that was added and takes it to its end, if it comes in
// time. The kernel may end it before it does so itself.
func (e *racer) run(ctx context.Context, p client.Process) error {
	exit, err := p.Wait(ctx)
	if err != nil {
		return fmt.Errorf("wait for exec: %w", err)
	}
	if err := p.Start(ctx); err == nil {
		e.started = true
		select {
		case status := <-exit:
			e.code = int(status.ExitCode())
			if err := status.Error(); err != nil {
				return fmt.Errorf("exit of exec: %w", err)
			}
		case <-ctx.Done():
			return fmt.Errorf("no exit of exec: %w", ctx.Err())
		}
		if !slices.Contains(e.codes, e.code) {
			return fmt.Errorf("exit of exec %s: got %d, want one of %d", e.id, e.code, e.codes)
		}
	}
	if _, err := p.Delete(ctx); err != nil {
		return fmt.Errorf("delete exec: %w", err)
	}
	return nil
}

// wrong says which rule the events of the life break: order, and none missing
// of what the client was told.
func (l *life) wrong(words []string, events *seen) string {
	if wrong := disorder(words); wrong != "" {
		return wrong
	}
	want := []string{"create", "start", "exit", "delete"}
	if code := events.code(l.id, "exit"); code != 0 {
		return fmt.Sprintf("exit %d", code)
	}
	for _, e := range l.execs {
		if e.added {
			want = append(want, "exec-added "+e.id)
		}
		if !e.started {
			continue
		}
		want = append(want, "exec-started "+e.id, "exit "+e.id)
		if got := events.code(l.id, "exit "+e.id); got != e.code {
			return fmt.Sprintf("exit %s with %d, the client got %d", e.id, got, e.code)
		}
	}
	return compare(words, want)
}

// compare names the first difference between the events that there are and
// those that there should be, in any order.
func compare(got, want []string) string {
	for _, w := range want {
		if !slices.Contains(got, w) {
			return "no " + w
		}
	}
	for _, w := range got {
		if !slices.Contains(want, w) {
			return "unexpected " + w
		}
	}
	return ""
}

// stormOfExecs runs many execs in one container, which end in every way.
func stormOfExecs(t *testing.T, d *env.Daemon, events *seen, quiet client.Task) {
	t.Helper()
	var mu sync.Mutex
	codes := map[string]int{}
	parallel(32, storm(), func(i int) string {
		script, want := ending(i)
		id, streams := fmt.Sprint("x", i), nullIO
		if i%4 == 0 {
			streams = cio.NewCreator(cio.WithStreams(nil, io.Discard, io.Discard), cio.WithFIFODir(d.Dir+"/io"))
		}
		got, err := execution{id: id, io: streams, args: []string{"/bin/sh", "-c", script}}.run(d.Context(t), quiet)
		if err != nil || got != want {
			t.Errorf("exec %d, %q: got %d, %v, want %d", i, script, got, err, want)
		}
		mu.Lock()
		defer mu.Unlock()
		codes[id] = want
		return ""
	})
	for id, want := range codes {
		events.until(t, quiet.ID(), "exit "+id)
		if got := events.code(quiet.ID(), "exit "+id); got != want {
			t.Errorf("event of exec %s: got %d, want %d", id, got, want)
		}
	}
	words := slices.Concat([]string{"create", "start"}, events.of(quiet.ID()), []string{"exit"})
	if wrong := disorder(words); wrong != "" {
		t.Errorf("events of the execs: %s", wrong)
	}
}

// ending is the i-th way to end, and its code.
func ending(i int) (script string, code int) {
	switch i % 8 {
	case 0:
		return "kill -KILL $$", 137
	case 1:
		return "kill -TERM $$", 143
	case 2:
		return "exit 0", 0
	}
	return fmt.Sprint("exit ", i%256), i % 256
}

// execution is an exec to be.
type execution struct {
	id   string
	io   cio.Creator
	args []string
	tty  bool
	user *specs.User // default: the container's
}

// run takes the exec to its end and returns its code.
func (e execution) run(ctx context.Context, task client.Task) (int, error) {
	spec, err := task.Spec(ctx)
	if err != nil {
		return 0, err
	}
	process := *spec.Process
	process.Args, process.Terminal = e.args, e.tty
	if e.user != nil {
		process.User = *e.user
	}
	p, err := task.Exec(ctx, e.id, &process, e.io)
	if err != nil {
		return 0, fmt.Errorf("exec: %w", err)
	}
	exit, err := p.Wait(ctx)
	if err != nil {
		return 0, fmt.Errorf("wait: %w", err)
	}
	if err := p.Start(ctx); err != nil {
		_, _ = p.Delete(ctx)
		return 0, fmt.Errorf("start: %w", err)
	}
	select {
	case status := <-exit:
		_, err := p.Delete(ctx)
		return int(status.ExitCode()), err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}
