// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	eventsapi "github.com/containerd/containerd/api/services/ttrpc/events/v1"
	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/events"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/ttrpc"
	"google.golang.org/protobuf/types/known/emptypb"

	"foundry/integration/env"
)

// containerd goes away and comes back; its hundred containers never notice, and
// no exit of the time between is lost.
func TestContainerdRestarts(t *testing.T) {
	for name, end := range map[string]func(*env.Daemon, testing.TB){"Stop": (*env.Daemon).Stop, "Kill": (*env.Daemon).Kill} {
		t.Run(name, func(t *testing.T) { restart(t, end) })
	}
}

// lasting is one of the containers that a restart must not touch, but for those
// that end meanwhile.
type lasting struct {
	id   string
	pid  int
	code int // it ends with this while containerd is away; -1: it does not
}

func restart(t *testing.T, end func(*env.Daemon, testing.TB)) {
	const n = 100
	d := env.Containerd(t, env.Config{})
	all := make([]lasting, n)
	parallel(16, n, func(i int) string {
		all[i] = last(t, d, i)
		return ""
	})
	if t.Failed() {
		return
	}
	servers := d.Servers()
	for _, s := range servers {
		const most = 12 // a container: the hard limit may be 20,000
		if server, spawner := env.FDs(s.Pid), env.FDs(s.Spawner); server > most*n || spawner > most*n {
			t.Errorf("descriptors for %d containers: got %d in the server, %d in the spawner, want at most %d", n, server, spawner, most*n)
		}
	}
	end(d, t)
	for _, c := range all {
		switch {
		case c.code == 137:
			mustKill(t, c.pid, syscall.SIGKILL)
		case c.code >= 0:
			mustKill(t, c.pid, syscall.SIGTERM)
		}
	}
	d.Start(t)
	parallel(16, n, func(i int) string {
		all[i].check(t, d)
		return ""
	})
	if got := d.Servers(); !slices.Equal(got, servers) {
		t.Errorf("servers: got %v, before the restart %v", got, servers)
	}
}

// last starts the i-th container. Every tenth will be killed, the next one will
// end on SIGTERM with a code of its own.
func last(t *testing.T, d *env.Daemon, i int) lasting {
	code := -1
	switch i % 10 {
	case 0:
		code = 137
	case 1:
		code = i % 256
	}
	ctx, script := d.Context(t), fmt.Sprintf("trap 'exit %d' TERM; echo up; while :; do sleep 100000 & wait; done", code)
	c, err := d.NewContainer(ctx, env.ContainerConfig{Args: []string{"/bin/sh", "-c", script}})
	if err != nil {
		t.Errorf("container: %v", err)
		return lasting{}
	}
	t.Cleanup(func() { removeAll(t, d, c.ID()) })
	out := &env.Output{}
	task, err := c.NewTask(ctx, cio.NewCreator(cio.WithStreams(nil, out, &env.Output{}), cio.WithFIFODir(d.Dir+"/io")))
	if err == nil {
		err = task.Start(ctx)
	}
	if err != nil {
		t.Errorf("start: %v", err)
		return lasting{}
	}
	for out.String() == "" { // its trap is not set yet
		if ctx.Err() != nil {
			t.Errorf("%s: no output", c.ID())
			break
		}
		time.Sleep(time.Millisecond)
	}
	return lasting{id: c.ID(), pid: int(task.Pid()), code: code}
}

func (c lasting) check(t *testing.T, d *env.Daemon) {
	task := load(t, d, c.id)
	if task == nil {
		return
	}
	if int(task.Pid()) != c.pid {
		t.Errorf("pid of %s: got %d, want %d", c.id, task.Pid(), c.pid)
	}
	if c.code < 0 {
		wantStatus(t, d, task, client.Running)
		if r, err := d.TryExec(d.Context(t), task, "/bin/echo", c.id); err != nil || r.Stdout != c.id+"\n" {
			t.Errorf("exec in %s after the restart: got %q, %v", c.id, r.Stdout, err)
		}
		return
	}
	exit, err := task.Wait(d.Context(t))
	if err != nil {
		t.Errorf("wait for %s: %v", c.id, err)
		return
	}
	if got := <-exit; int(got.ExitCode()) != c.code || got.Error() != nil {
		t.Errorf("exit of %s while containerd was away: got %d, %v, want %d", c.id, got.ExitCode(), got.Error(), c.code)
	}
}

func mustKill(t *testing.T, pid int, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, sig); err != nil {
		t.Errorf("signal %d to process %d: %v", sig, pid, err)
	}
}

// The events of the time without a containerd are delivered to the next one:
// all of them, in their order, each container's exit last. Here it is the test
// that takes them, at the address where containerd would.
func TestEventsOutlastContainerd(t *testing.T) {
	requireFoundry(t)
	d := env.Containerd(t, env.Config{})
	all := make([]lasting, 20)
	parallel(16, len(all), func(i int) string {
		all[i] = last(t, d, 10*i+1)
		return ""
	})
	if t.Failed() {
		return
	}
	for _, c := range all {
		startExec(t, d, load(t, d, c.id), "e", "/bin/sleep", "100000")
	}
	d.Stop(t)
	for _, c := range all {
		mustKill(t, c.pid, syscall.SIGTERM)
	}
	for _, c := range all {
		env.Eventually(t, "they end", func() bool { return !env.Alive(c.pid) })
	}
	s := &seen{all: map[string][]string{}, codes: map[string]int{}}
	stop := receive(t, d.Address+".ttrpc", s)
	for _, c := range all {
		if got, want := s.until(t, c.id, "exit"), []string{"exit e", "exit"}; !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", c.id, got, want)
		}
		if got := s.code(c.id, "exit"); got != c.code {
			t.Errorf("%s: got exit %d, want %d", c.id, got, c.code)
		}
		if got := s.code(c.id, "exit e"); got != 137 {
			t.Errorf("%s: got exit %d of its exec, want 137", c.id, got)
		}
	}
	stop()
	d.Start(t)
	for _, c := range all {
		c.check(t, d)
	}
}

// receive takes events as containerd does.
func receive(t *testing.T, path string, s *seen) (stop func()) {
	t.Helper()
	_ = os.Remove(path) // containerd left it
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server, err := ttrpc.NewServer()
	if err != nil {
		t.Fatal(err)
	}
	eventsapi.RegisterTTRPCEventsService(server, receiver{s})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(context.Background(), l)
	}()
	return func() {
		server.Close()
		<-done
	}
}

type receiver struct{ seen *seen }

func (r receiver) Forward(_ context.Context, req *eventsapi.ForwardRequest) (*emptypb.Empty, error) {
	r.seen.add(&events.Envelope{Event: req.Envelope.Event})
	return &emptypb.Empty{}, nil
}

func load(t *testing.T, d *env.Daemon, id string) client.Task {
	t.Helper()
	c, err := d.Client.LoadContainer(d.Context(t), id)
	if err != nil {
		t.Errorf("load %s: %v", id, err)
		return nil
	}
	task, err := c.Task(d.Context(t), nil)
	if err != nil {
		t.Errorf("task of %s: %v", id, err)
		return nil
	}
	return task
}
