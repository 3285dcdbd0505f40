// SPDX-License-Identifier: Apache-2.0

package flight

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"foundry/shim/view"
)

func key(n int) Key { return Key{"ns", fmt.Sprint("c", n)} }

// clock is a time that tests move.
type clock struct{ now time.Time }

func (c *clock) time() time.Time { return c.now }

func TestExplain(t *testing.T) {
	for _, c := range []struct {
		name, want string
		events     []view.Event
	}{
		{"Creating", "it is being created", []view.Event{{What: view.Create}}},
		{"Created", "it is created and was not started", []view.Event{{What: view.Create}, {What: view.Created}}},
		{"Running", "it runs", []view.Event{{What: view.Create}, {What: view.Created}, {What: view.Started}, {What: view.Exited, Process: "e", Status: 3}}},
		{"NotCreated", "it was never created: no bundle", []view.Event{{What: view.CreateFailed, Detail: "no bundle"}}},
		{"Again", "it runs", []view.Event{{What: view.CreateFailed, Detail: "x"}, {What: view.Create}, {What: view.Started}}},
		{"NotStarted", "it did not start: no such file; init exited with status 1",
			[]view.Event{{What: view.StartFailed, Detail: "no such file"}, {What: view.Exited, Status: 1}}},
		{"Exited", "init exited with status 3", []view.Event{{What: view.Started}, {What: view.Exited, Status: 3}}},
		{"NotDeleted", "init exited with status 0; deleting it left something behind: remove cgroup: device or resource busy",
			[]view.Event{{What: view.Exited}, {What: view.DeleteFailed, Detail: "remove cgroup: device or resource busy"}}},
		{"DeletedAtLast", "init exited with status 0", []view.Event{{What: view.Exited}, {What: view.DeleteFailed}, {What: view.Deleted}}},
		{"Asked", "init was ended by SIGTERM, which was asked for by containerd (Kill)",
			[]view.Event{{What: view.Killed, Signal: 15, Detail: "containerd (Kill)"}, {What: view.Exited, Status: 143, Signal: 15}}},
		{"OOM", "init was ended by SIGKILL: out of memory, 1 killed, limit 16.0 MiB",
			[]view.Event{{What: view.OOM, Detail: "1 killed, limit 16.0 MiB"}, {What: view.Exited, Status: 137, Signal: 9}}},
		{"OOMOfAChild", "init exited with status 1; before that the kernel killed for memory: 1 killed",
			[]view.Event{{What: view.OOM, Detail: "1 killed"}, {What: view.Exited, Status: 1}}},
		{"Outside", "init was ended by SIGSEGV, which nobody asked for through containerd",
			[]view.Event{{What: view.Killed, Signal: 15}, {What: view.Exited, Status: 139, Signal: 11}}},
		{"KillAfterExit", "init was ended by SIGABRT, which nobody asked for through containerd",
			[]view.Event{{What: view.Exited, Status: 134, Signal: 6}, {What: view.Killed, Signal: 6}}},
	} {
		if got := Explain(c.events); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
	got := Explain([]view.Event{{What: view.Exited, Status: 137, Signal: 9}})
	if !strings.Contains(got, "somebody on the host") {
		t.Errorf("killed from outside: got %q", got)
	}
}

// Execs, of which a health check makes many, leave the container's own events
// where they are.
func TestRings(t *testing.T) {
	r := New(Config{})
	for n := range 1000 {
		r.Note(key(0), view.Event{What: "exec", Process: fmt.Sprint(n)})
		if n%3 == 0 {
			r.Note(key(0), view.Event{What: "pause", Pid: n})
		}
	}
	f, _ := r.Get(key(0))
	execs := 0
	for i, e := range f.Events {
		if e.Process != "" {
			execs++
		}
		if i > 0 && e.At.Before(f.Events[i-1].At) {
			t.Errorf("event %d is out of order", i)
		}
	}
	if execs != ofExecs || len(f.Events) != ofExecs+ofInit || f.Dropped != 1334-len(f.Events) {
		t.Errorf("got %d events, %d of execs, %d dropped", len(f.Events), execs, f.Dropped)
	}
	if last := f.Events[len(f.Events)-1]; last.Pid != 999 {
		t.Errorf("last is %+v", last)
	}
}

func TestKeepsForAWhile(t *testing.T) {
	now := &clock{time.Unix(1e9, 0)}
	r := New(Config{Now: now.time})
	r.Note(key(1), view.Event{What: view.Create})
	r.Gone(key(1))
	r.Gone(key(1)) // twice is once
	r.Gone(key(9)) // unknown is nothing
	now.now = now.now.Add(59 * time.Minute)
	if f, ok := r.Get(key(1)); !ok || f.Gone == nil {
		t.Errorf("after 59 minutes: %v, %v", f, ok)
	}
	// The id comes back: the record goes on, and stays.
	r.Note(key(1), view.Event{What: view.Create})
	now.now = now.now.Add(2 * time.Hour)
	if f, ok := r.Get(key(1)); !ok || len(f.Events) != 2 || f.Gone != nil {
		t.Errorf("used again: %v, %v", f, ok)
	}
	r.Gone(key(1))
	now.now = now.now.Add(time.Hour + time.Second)
	if _, ok := r.Get(key(1)); ok || r.bytes != 0 {
		t.Errorf("after an hour: still there, %d bytes", r.bytes)
	}
}

// All records together stay below the bound; those of living containers keep
// their beginnings.
func TestBound(t *testing.T) {
	const bound = 64 << 10
	now := &clock{time.Unix(1e9, 0)}
	r := New(Config{Bytes: bound, Now: now.time})
	for n := range 500 {
		now.now = now.now.Add(time.Second)
		r.Note(key(n), view.Event{What: view.Create, Detail: strings.Repeat("x", 20<<10)})
		r.Gone(key(n))
		if r.bytes > bound {
			t.Fatalf("%d: %d bytes", n, r.bytes)
		}
	}
	if _, ok := r.Get(key(499)); !ok {
		t.Error("the newest is gone")
	}
	for range 100 {
		for n := range 20 {
			r.Note(key(n), view.Event{What: "pause"})
			r.Note(key(n), view.Event{What: "exec", Process: "e"})
		}
	}
	if r.bytes > bound+20*20<<10 {
		t.Errorf("living: %d bytes", r.bytes)
	}
	if all := r.All(); len(all) < 20 || len(all[0].Events) != 0 {
		t.Errorf("all: %d records", len(all))
	}
}

func BenchmarkNote(b *testing.B) {
	r := New(Config{})
	e := view.Event{What: "exec", Process: "e"}
	for b.Loop() {
		r.Note(key(0), e)
	}
}
