// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	eventapi "github.com/containerd/containerd/api/events"
	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/events"
	"github.com/containerd/typeurl/v2"

	"foundry/integration/env"
)

// seen collects the task events of one daemon, by container, as short words:
// create, start, exec-added e, exec-started e, exit, exit e, delete.
type seen struct {
	mu    sync.Mutex
	all   map[string][]string
	codes map[string]int // of the exits and deletes, by container and word
}

func watch(t *testing.T, d *env.Daemon) *seen {
	t.Helper()
	s := &seen{all: map[string][]string{}, codes: map[string]int{}}
	ctx, cancel := context.WithCancel(d.Context(t))
	messages, errs := d.Client.EventService().Subscribe(ctx, `topic~="/tasks/"`)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case m := <-messages:
				s.add(m)
			case <-errs:
				return
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return s
}

func (s *seen) add(m *events.Envelope) {
	v, err := typeurl.UnmarshalAny(m.Event)
	if err != nil {
		return
	}
	var id, word string
	code := -1
	switch e := v.(type) {
	case *eventapi.TaskCreate:
		id, word = e.ContainerID, "create"
	case *eventapi.TaskStart:
		id, word = e.ContainerID, "start"
	case *eventapi.TaskExecAdded:
		id, word = e.ContainerID, "exec-added "+e.ExecID
	case *eventapi.TaskExecStarted:
		id, word = e.ContainerID, "exec-started "+e.ExecID
	case *eventapi.TaskExit:
		id, word, code = e.ContainerID, "exit", int(e.ExitStatus)
		if e.ID != e.ContainerID {
			word += " " + e.ID
		}
	case *eventapi.TaskOOM:
		id, word = e.ContainerID, "oom"
	case *eventapi.TaskPaused:
		id, word = e.ContainerID, "paused"
	case *eventapi.TaskResumed:
		id, word = e.ContainerID, "resumed"
	case *eventapi.TaskDelete:
		id, word, code = e.ContainerID, "delete", int(e.ExitStatus)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all[id] = append(s.all[id], word)
	if code >= 0 {
		s.codes[id+" "+word] = code
	}
}

// code is the status in an exit or delete event of a container; -1 without one.
func (s *seen) code(id, word string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if code, ok := s.codes[id+" "+word]; ok {
		return code
	}
	return -1
}

func (s *seen) of(id string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.all[id])
}

// until waits for a container's event and returns all before it.
func (s *seen) until(t *testing.T, id, word string) []string {
	t.Helper()
	env.Eventually(t, word+" of "+id, func() bool { return slices.Contains(s.of(id), word) })
	return s.of(id)
}

func TestEventsOfALife(t *testing.T) {
	d := env.Containerd(t, env.Config{})
	s := watch(t, d)
	ctx := d.Context(t)
	task := d.StartTask(t, sleeper(t, d))
	d.Exec(t, task, "/bin/true")
	if err := task.Pause(ctx); err != nil {
		t.Fatal(err)
	}
	if err := task.Resume(ctx); err != nil {
		t.Fatal(err)
	}
	if err := task.Kill(ctx, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	d.Finish(t, task)
	got := s.until(t, task.ID(), "delete")
	want := []string{"create", "start", "exec-added", "exec-started", "exit", "paused", "resumed", "exit", "delete"}
	for i, w := range got {
		got[i], _, _ = strings.Cut(w, " ")
	}
	if !slices.Equal(got, want) {
		t.Errorf("events: got %q, want %q", got, want)
	}
}

// Containers that end at once, while execs enter them: whatever of the race an
// exec gets, the order of events holds. containerd issues 9719 and 10589.
func TestEventOrderUnderRace(t *testing.T) {
	d := env.Containerd(t, env.Config{})
	s := watch(t, d)
	const containers, workers = 40, 8
	ids := make(chan client.Container)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for c := range ids {
				if err := raced(d, d.Context(t), c); err != nil {
					t.Errorf("%s: %v", c.ID(), err)
				}
			}
		})
	}
	var made []string
	for range containers {
		c := d.Container(t, env.ContainerConfig{Args: []string{"/bin/true"}})
		made = append(made, c.ID())
		ids <- c
	}
	close(ids)
	wg.Wait()
	for _, id := range made {
		if wrong := disorder(s.until(t, id, "delete")); wrong != "" {
			t.Errorf("%s: %s in %q", id, wrong, s.of(id))
		}
	}
}

// raced runs a container to its end with execs on its heels.
func raced(d *env.Daemon, ctx context.Context, c client.Container) error {
	task, err := c.NewTask(ctx, nullIO)
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	exit, err := task.Wait(ctx)
	if err != nil {
		return fmt.Errorf("wait: %w", err)
	}
	if err := task.Start(ctx); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	var wg sync.WaitGroup
	for range 2 {
		// It may come too late; it may not hang.
		wg.Go(func() { _, _ = d.TryExec(ctx, task, "/bin/true") })
	}
	select {
	case status := <-exit:
		if status.ExitCode() != 0 {
			return fmt.Errorf("exit: got %d", status.ExitCode())
		}
	case <-time.After(time.Minute * env.Slowness()):
		return fmt.Errorf("no exit after a minute")
	}
	wg.Wait()
	_, err = task.Delete(ctx)
	return err
}

// disorder names the first rule that a container's events break.
func disorder(words []string) string {
	at := map[string]int{}
	for i, w := range words {
		if _, twice := at[w]; twice {
			return "two of " + w
		}
		at[w] = i
	}
	before := func(a, b string) bool {
		i, ok := at[a]
		j, ok2 := at[b]
		return !ok2 || ok && i < j
	}
	for _, pair := range [][2]string{{"create", "start"}, {"start", "exit"}, {"exit", "delete"}} {
		if !before(pair[0], pair[1]) {
			return pair[1] + " before " + pair[0]
		}
	}
	for w := range at {
		kind, id, ok := strings.Cut(w, " ")
		switch {
		case !ok:
		case kind == "exit" && (!before("exec-started "+id, w) || !before(w, "exit")):
			return w + " out of order"
		case kind == "exec-started" && !before("exec-added "+id, w):
			return w + " before exec-added"
		}
	}
	return ""
}

func TestDisorder(t *testing.T) {
	tests := []struct{ words, want string }{
		{"create,start,exit,delete", ""},
		{"create,start,exec-added e,exec-started e,exit e,exit,delete", ""},
		{"create,start,exec-added e,exit,delete", ""},
		{"create,exit,start,delete", "exit before start"},
		{"create,start,exec-added e,exec-started e,exit,exit e,delete", "exit e out of order"},
		{"create,start,exit,exit,delete", "two of exit"},
	}
	for _, tt := range tests {
		if got := disorder(strings.Split(tt.words, ",")); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.words, got, tt.want)
		}
	}
}
