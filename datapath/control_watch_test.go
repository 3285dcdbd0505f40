// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
)

// nextEvents reads some.
func nextEvents(t *testing.T, events <-chan Event, n int) (list []Event) {
	t.Helper()
	for range n {
		e, ok := <-events
		if !ok {
			t.Fatalf("the watch ended after %v", list)
		}
		list = append(list, e)
	}
	return list
}

// A watch tells of every change once, in order, across a restart.
func TestWatchGoesOnAfterRestart(t *testing.T) {
	s := newSite(t)
	c := s.start(t)
	begin := c.Snapshot().Revision
	events, err := c.Watch(t.Context(), begin)
	if err != nil {
		t.Fatal(err)
	}
	const networks = 20
	addAll := func(from int) {
		for i := range networks {
			if _, err := c.AddNetwork(t.Context(), NetworkRecord{VNI: uint32(from + i)}); err != nil {
				t.Error(err)
			}
		}
	}
	var work sync.WaitGroup
	work.Go(func() { addAll(0) })
	seen := nextEvents(t, events, networks-3)
	work.Wait()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	for e := range events {
		seen = append(seen, e) // one may have been on its way
	}
	c = s.start(t)
	last := seen[len(seen)-1].Revision
	if events, err = c.Watch(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	have := len(c.ListNetworks())
	addAll(networks)
	seen = append(seen, nextEvents(t, events, have+networks-len(seen))...)
	for i, e := range seen {
		if e.Revision != begin+uint64(i)+1 || e.Kind != KindNetwork || e.Deleted || e.Err != nil {
			t.Fatalf("event %d: got %+v", i, e)
		}
		if i > 0 && i < have && e.Record.(NetworkRecord).VNI != seen[i-1].Record.(NetworkRecord).VNI+1 {
			t.Errorf("event %d: %v comes after %v", i, e.Record, seen[i-1].Record)
		}
	}
	if got, want := c.Snapshot().Revision, seen[len(seen)-1].Revision; got != want {
		t.Errorf("revision: got %d, want %d", got, want)
	}
}

// Who comes too late, or falls behind, is told to list again.
func TestWatchTooLate(t *testing.T) {
	s := newSite(t)
	s.History = 4
	c := s.start(t)
	begin := c.Snapshot().Revision
	slow, err := c.Watch(t.Context(), begin)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		if _, err := c.AddNetwork(t.Context(), NetworkRecord{VNI: uint32(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Watch(t.Context(), begin); !errors.Is(err, ErrCompacted) {
		t.Errorf("from the beginning: got %v", err)
	}
	if _, err := c.Watch(t.Context(), c.Snapshot().Revision+1); !errors.Is(err, ErrCompacted) {
		t.Errorf("from the future: got %v", err)
	}
	var last Event
	for e := range slow {
		last = e
	}
	if !errors.Is(last.Err, ErrCompacted) {
		t.Errorf("the slow one: got %+v", last)
	}
	if status := c.Status(); status.Oldest != status.Revision-4 {
		t.Errorf("oldest: got %d, want %d", status.Oldest, status.Revision-4)
	}
}

// A watch ends with its context, and with Control.
func TestWatchEnds(t *testing.T) {
	c := newSite(t).start(t)
	ctx, cancel := context.WithCancel(t.Context())
	one, err := c.Watch(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	two, err := c.Watch(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if e, ok := <-one; ok {
		t.Errorf("after its context: got %+v", e)
	}
	addNetwork(t, c)
	if e := <-two; e.Name != "100" || fmt.Sprint(e.Record) != fmt.Sprint(NetworkRecord{VNI: 100}) {
		t.Errorf("the other: got %+v", e)
	}
	c.Close()
	if e, ok := <-two; ok {
		t.Errorf("after the end: got %+v", e)
	}
	if _, err := c.Watch(t.Context(), 0); !errors.Is(err, ErrClosed) {
		t.Errorf("after the end: got %v", err)
	}
	if _, err := c.AddNetwork(t.Context(), NetworkRecord{VNI: 1}); !errors.Is(err, ErrClosed) {
		t.Errorf("after the end: got %v", err)
	}
}
