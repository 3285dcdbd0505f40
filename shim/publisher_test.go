// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/containerd/containerd/api/events"
	"github.com/containerd/containerd/api/types"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

func newTestPublisher(t *testing.T, s *sink) *Publisher {
	t.Helper()
	p := NewPublisher(PublisherConfig{Address: "unix://" + s.path, MaxBackoff: 20 * time.Millisecond})
	t.Cleanup(p.Close)
	return p
}

// number publishes the nth event of a container.
func number(p *Publisher, k Key, n int) {
	p.Publish(k, "/tasks/start", &events.TaskStart{ContainerID: k.ID, Pid: uint32(n)})
}

// numbers checks that the events of each container came in their order and
// returns how many there were of each.
func numbers(t *testing.T, got []*types.Envelope, first uint32) map[Key]uint32 {
	t.Helper()
	seen := map[Key]uint32{}
	for _, e := range got {
		var ev events.TaskStart
		if e.Event.TypeUrl != "containerd.events.TaskStart" || e.Topic != "/tasks/start" || e.Timestamp == nil {
			t.Fatalf("envelope: %v", e)
		}
		if err := proto.Unmarshal(e.Event.Value, &ev); err != nil {
			t.Fatal(err)
		}
		k := Key{e.Namespace, ev.ContainerID}
		if want := first + seen[k]; ev.Pid != want {
			t.Fatalf("%s: got event %d, want %d", k, ev.Pid, want)
		}
		seen[k]++
	}
	return seen
}

func TestPublishOrder(t *testing.T) {
	const containers, each = 40, 50
	s := newSink(t)
	s.start(t)
	p := newTestPublisher(t, s)
	var wg sync.WaitGroup
	for c := range containers {
		wg.Go(func() {
			for n := range each {
				number(p, Key{"ns", fmt.Sprint(c)}, n)
			}
		})
	}
	wg.Wait()
	if seen := numbers(t, s.wait(containers*each), 0); len(seen) != containers {
		t.Errorf("events of %d containers, want %d", len(seen), containers)
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Error(err)
	}
	if queued, lost := p.Backlog(); queued != 0 || lost != 0 {
		t.Errorf("queued %d, lost %d", queued, lost)
	}
}

// TestPublishThroughRestart stops containerd and starts it again; nothing is
// lost and the order is kept. (An event that was taken, and whose answer was lost,
// would come twice; here there is none.)
func TestPublishThroughRestart(t *testing.T) {
	s := newSink(t)
	s.start(t)
	p := newTestPublisher(t, s)
	k := Key{"ns", "c"}
	number(p, k, 0)
	must(t, p.Flush(t.Context())) // else its reply may be lost with the connection, and it comes twice
	s.stop()
	for n := 1; n < 10; n++ {
		number(p, k, n)
	}
	s.start(t)
	for n := 10; n < 20; n++ {
		number(p, k, n)
	}
	numbers(t, s.wait(20), 0)
}

// TestPublishRefused: what containerd will never take is given up, counted,
// and holds up nothing.
func TestPublishRefused(t *testing.T) {
	s := newSink(t)
	s.refuse = func(e *types.Envelope) error {
		if e.Namespace == "bad" {
			return status.Error(codes.InvalidArgument, "bad namespace")
		}
		return nil
	}
	s.start(t)
	p := newTestPublisher(t, s)
	number(p, Key{"bad", "c"}, 0)
	number(p, Key{"good", "c"}, 0)
	s.wait(1)
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if queued, lost := p.Backlog(); queued != 0 || lost != 1 {
		t.Errorf("queued %d, lost %d; want 0, 1", queued, lost)
	}
}

// TestPublishBounded: with containerd away for ever, memory is bounded and the
// newest events are kept.
func TestPublishBounded(t *testing.T) {
	s := newSink(t)
	p := newTestPublisher(t, s)
	k := Key{"ns", "c"}
	for n := range maxQueued + 10 {
		number(p, k, n)
	}
	if queued, lost := p.Backlog(); queued != maxQueued || lost != 10 {
		t.Fatalf("queued %d, lost %d; want %d, 10", queued, lost, maxQueued)
	}
	s.start(t)
	got := s.wait(maxQueued)
	if n := numbers(t, got[:1], 0)[k]; n != 1 {
		t.Errorf("the event under way is not the first")
	}
	numbers(t, got[1:], 11)
}

func TestPublisherClose(t *testing.T) {
	p := newTestPublisher(t, newSink(t))
	number(p, Key{"ns", "c"}, 0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Flush(ctx); err == nil {
		t.Error("Flush without containerd: no error")
	}
	p.Close()
	number(p, Key{"ns", "c"}, 1)
	if _, lost := p.Backlog(); lost != 2 {
		t.Errorf("lost %d, want 2", lost)
	}
}
