// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/containerd/containerd/api/events"
	task "github.com/containerd/containerd/api/runtime/task/v2"
	"github.com/containerd/containerd/api/types"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"foundry/runtime"
)

func mustBare(m proto.Message) *anypb.Any {
	a, err := bare(m)
	if err != nil {
		panic(err)
	}
	return a
}

// created is a container without a runtime: its processes are made up.
func created(t *testing.T, s *Service) *container {
	t.Helper()
	c := newContainer(Key{"ns", "c"}, s)
	c.cancel = func() {}
	c.state.PrivatePID = true
	if err := s.table.reserve(c); err != nil {
		t.Fatal(err)
	}
	must(t, c.step(Event{Verb: DidCreate, Pid: 1000}))
	close(c.ready)
	return c
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func testServiceWith(t *testing.T, s *sink) *Service {
	t.Helper()
	return New(Config{Publisher: newTestPublisher(t, s)})
}

func exited(status int) *runtime.Exit { return &runtime.Exit{Status: status, At: time.Now()} }

// TestRacingExecs has execs start and end at once, in any order, while init
// dies in the middle: whoever waits is answered, and the events are in order.
func TestRacingExecs(t *testing.T) {
	const execs = 64
	s := newSink(t)
	s.start(t)
	c := created(t, testServiceWith(t, s))
	must(t, c.step(Event{Verb: Start}))
	must(t, c.step(Event{Verb: DidStart, Pid: 1000}))
	var wg sync.WaitGroup
	var mu sync.Mutex
	started := map[string]bool{}
	for n := range execs { // all are added before init can die of one
		must(t, c.add(fmt.Sprint("e", n), &specs.Process{}, streams{}))
	}
	for n := range execs {
		id := fmt.Sprint("e", n)
		wg.Go(func() {
			p, err := c.wait(t.Context(), id)
			mu.Lock()
			defer mu.Unlock()
			if started[id] && (err != nil || p.Exit.Status != uint32(n)) {
				t.Errorf("%s: waited for %v, %v", id, p, err)
			}
		})
		wg.Go(func() {
			if n == execs/2 {
				c.tell(news{exit: exited(137)})
			}
			if c.step(Event{Verb: Start, Exec: id}) != nil {
				_ = c.step(Event{Verb: Delete, Exec: id}) // init was faster
				return
			}
			mu.Lock()
			started[id] = true
			mu.Unlock()
			go c.tell(news{exec: id, exit: exited(n)})
			if err := c.step(Event{Verb: DidStart, Exec: id, Pid: 2000 + n}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if p, err := c.wait(t.Context(), ""); err != nil || p.Exit.Status != 137 {
		t.Errorf("init: %v, %v", p, err)
	}
	checkOrder(t, s.wait(2+execs+2*len(started)+1))
}

// checkOrder checks the order that containerd's clients rely on.
func checkOrder(t *testing.T, got []*types.Envelope) {
	t.Helper()
	var seen []string
	before := func(first, then string) {
		if !slices.Contains(seen, first) {
			t.Errorf("%s came before %s", then, first)
		}
	}
	for i, e := range got {
		switch e.Topic {
		case "/tasks/exec-started":
			var ev events.TaskExecStarted
			must(t, proto.Unmarshal(e.Event.Value, &ev))
			before("added "+ev.ExecID, "started "+ev.ExecID)
			seen = append(seen, "started "+ev.ExecID)
		case "/tasks/exec-added":
			var ev events.TaskExecAdded
			must(t, proto.Unmarshal(e.Event.Value, &ev))
			seen = append(seen, "added "+ev.ExecID)
		case "/tasks/exit":
			var ev events.TaskExit
			must(t, proto.Unmarshal(e.Event.Value, &ev))
			if ev.ID == ev.ContainerID {
				if i != len(got)-1 {
					t.Errorf("init's exit is event %d of %d", i+1, len(got))
				}
				continue
			}
			before("started "+ev.ID, "exit "+ev.ID)
		}
	}
}

// TestMemoryCallsDuringCreate: the id of a create under way is unknown, and
// asking takes no time.
func TestMemoryCallsDuringCreate(t *testing.T) {
	s := testServiceWith(t, newSink(t))
	c := newContainer(Key{"ns", "c"}, s)
	ctx, cancel := context.WithCancel(t.Context())
	c.cancel = cancel
	must(t, s.table.reserve(c))
	go func() { // the create, which gives up when it is told to
		<-ctx.Done()
		s.table.release(c)
		close(c.ready)
	}()
	client, nctx := dial(t, s.Register)
	tasks := task.NewTTRPCTaskClient(client)
	if r, err := tasks.Connect(nctx, &task.ConnectRequest{ID: "c"}); err != nil || r.TaskPid != 0 {
		t.Errorf("Connect: %v, %v", r, err)
	}
	if _, err := tasks.State(nctx, &task.StateRequest{ID: "c"}); err == nil {
		t.Error("State: no error")
	}
	if err := s.table.reserve(newContainer(c.key, s)); !errors.Is(err, errTaken) {
		t.Errorf("second create: %v", err)
	}
	if _, err := s.forceDelete(t.Context(), c.key); !errors.Is(err, errNoContainer) {
		t.Errorf("delete: %v", err)
	}
	if s.Containers() != 0 {
		t.Error("the id is still taken")
	}
}

// TestWaitAfterDelete: who was woken learns the exit even if somebody else
// has deleted the exec meanwhile.
func TestWaitAfterDelete(t *testing.T) {
	c := created(t, testServiceWith(t, newSink(t)))
	must(t, c.add("e", &specs.Process{}, streams{}))
	must(t, c.step(Event{Verb: Start, Exec: "e"}))
	_, live, err := c.look("e")
	must(t, err)
	must(t, c.step(Event{Verb: DidStart, Exec: "e", Pid: 5}))
	must(t, c.step(Event{Verb: Exit, Exec: "e", Exit: ExitStatus{Status: 3}}))
	if _, err := c.removeExec(t.Context(), "e"); err != nil {
		t.Fatal(err)
	}
	<-live.done
	if live.last.Exit.Status != 3 || live.last.Pid != 5 {
		t.Errorf("got %+v", live.last)
	}
	if _, err := c.wait(t.Context(), "e"); err == nil {
		t.Error("a deleted exec can be waited for")
	}
}

func TestExecQuota(t *testing.T) {
	c := created(t, testServiceWith(t, newSink(t)))
	for n := range maxExecs {
		must(t, c.add(fmt.Sprint(n), nil, streams{}))
	}
	if err := c.add("one more", nil, streams{}); !errors.Is(err, errQuota) {
		t.Errorf("got %v", err)
	}
}

func TestWriteExit(t *testing.T) {
	dir := t.TempDir()
	at := time.Unix(100, 5)
	must(t, writeExit(dir, Proc{Pid: 7, Exit: ExitStatus{Status: 137, At: at}}))
	data, err := os.ReadFile(filepath.Join(dir, ExitFile))
	must(t, err)
	var r task.DeleteResponse
	must(t, proto.Unmarshal(data, &r))
	if r.Pid != 7 || r.ExitStatus != 137 || !r.ExitedAt.AsTime().Equal(at) {
		t.Errorf("got %v", &r)
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("left: %v", files)
	}
	must(t, writeExit(filepath.Join(dir, "gone"), Proc{}))
}
