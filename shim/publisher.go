// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	api "github.com/containerd/containerd/api/services/ttrpc/events/v1"
	"github.com/containerd/containerd/api/types"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// PublisherConfig says where events go. Address is required.
type PublisherConfig struct {
	Address    string        // containerd's ttrpc socket
	Log        *slog.Logger  // nil: nothing is logged
	Patience   time.Duration // for one delivery; 0: 10 s
	MaxBackoff time.Duration // between two attempts; 0: 2 s
}

// Publisher sends events to containerd. Events of one container arrive in the
// order in which they were published; those of different containers do not
// wait for each other. Publish never blocks: an event waits in its container's
// queue until containerd takes it, through as many restarts of containerd as
// that takes. An event may arrive twice when the connection broke at the wrong
// moment. See docs/decisions/0005-events.md.
type Publisher struct {
	cfg  PublisherConfig
	stop chan struct{}
	work sync.WaitGroup

	line line

	mu     sync.Mutex // guards what follows
	queues map[Key]*queue
	queued int    // events in all queues
	lost   uint64 // events given up
	sent   uint64 // events taken by containerd
	again  uint64 // attempts after the first
	closed bool
}

// queue holds the undelivered events of one container, the first one being
// delivered. It is in the publisher's table while it is not empty; then, and
// only then, it has a goroutine.
type queue struct {
	key    Key
	events []*types.Envelope
}

// NewPublisher returns a publisher; it connects when there is something to say.
func NewPublisher(cfg PublisherConfig) *Publisher {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Patience == 0 {
		cfg.Patience = 10 * time.Second
	}
	if cfg.MaxBackoff == 0 {
		cfg.MaxBackoff = 2 * time.Second
	}
	return &Publisher{cfg: cfg, line: line{address: cfg.Address}, stop: make(chan struct{}), queues: map[Key]*queue{}}
}

// Publish queues an event about the container k.
func (p *Publisher) Publish(k Key, topic string, event proto.Message) {
	value, err := proto.Marshal(event)
	if err != nil {
		p.cfg.Log.Error("encode event", "container", k.String(), "topic", topic, "err", err)
		return
	}
	p.push(k, &types.Envelope{
		Timestamp: timestamppb.Now(),
		Namespace: k.Namespace,
		Topic:     topic,
		Event:     &anypb.Any{TypeUrl: string(event.ProtoReflect().Descriptor().FullName()), Value: value},
	})
}

func (p *Publisher) push(k Key, e *types.Envelope) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		p.loseLocked(k, e, "stopped")
		return
	}
	q := p.queues[k]
	if q == nil {
		q = &queue{key: k}
		p.queues[k] = q
		p.work.Go(func() { p.deliver(q, e) })
	}
	q.events = append(q.events, e)
	p.queued++
	// The oldest that is not under way goes: what happened last matters most.
	if n := len(q.events); n > 2 && (n > maxQueued || p.queued > maxQueuedAll) {
		p.loseLocked(k, q.events[1], "queue is full")
		q.events = append(q.events[:1], q.events[2:]...)
		p.queued--
	}
}

func (p *Publisher) loseLocked(k Key, e *types.Envelope, why string) {
	p.lost++
	p.cfg.Log.Error("event lost", "container", k.String(), "topic", e.Topic, "why", why, "lost", p.lost)
}

// Backlog is the number of events that wait, and of those that were given up.
func (p *Publisher) Backlog() (queued int, lost uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.queued, p.lost
}

// deliver sends the events of q, e first, until there is none.
func (p *Publisher) deliver(q *queue, e *types.Envelope) {
	for ; e != nil; e = p.next(q) {
		if err := p.insist(q.key, e); err != nil {
			p.mu.Lock()
			p.loseLocked(q.key, e, err.Error())
			p.mu.Unlock()
		} else {
			p.count(&p.sent)
		}
	}
}

func (p *Publisher) count(n *uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	*n++
}

// Deliveries is how many events containerd has taken, and how many attempts
// it took beyond the first ones.
func (p *Publisher) Deliveries() (sent, retries uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sent, p.again
}

// next takes the first event, which is done with, off q and returns the new
// first one. An empty queue leaves the table.
func (p *Publisher) next(q *queue) *types.Envelope {
	p.mu.Lock()
	defer p.mu.Unlock()
	q.events[0] = nil
	q.events = q.events[1:]
	p.queued--
	if len(q.events) == 0 {
		delete(p.queues, q.key)
		return nil
	}
	return q.events[0]
}

// insist sends e until containerd has taken it. The error is containerd's
// refusal, which would be the same next time, or the end of the publisher.
func (p *Publisher) insist(k Key, e *types.Envelope) error {
	backoff := 10 * time.Millisecond
	for {
		err := p.send(e)
		if err == nil {
			return nil
		}
		switch status.Code(err) {
		case codes.InvalidArgument, codes.FailedPrecondition, codes.Unimplemented, codes.PermissionDenied:
			return err
		}
		p.cfg.Log.Debug("deliver event", "container", k.String(), "topic", e.Topic, "err", err)
		p.count(&p.again)
		timer := time.NewTimer(backoff)
		select {
		case <-timer.C:
		case <-p.stop:
			timer.Stop()
			return errStopping
		}
		backoff = min(2*backoff, p.cfg.MaxBackoff)
	}
}

// send makes one attempt.
func (p *Publisher) send(e *types.Envelope) error {
	client, err := p.line.connect()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), p.cfg.Patience)
	defer cancel()
	// A write to a containerd that no longer reads heeds no context, only the
	// closing of the connection.
	defer context.AfterFunc(ctx, func() {
		if ctx.Err() == context.DeadlineExceeded {
			p.line.drop(client)
		}
	})()
	_, err = api.NewTTRPCEventsClient(client).Forward(ctx, &api.ForwardRequest{Envelope: e})
	if err == nil {
		return nil
	}
	if _, refused := status.FromError(err); !refused {
		p.line.drop(client)
	}
	return fmt.Errorf("forward event to %s: %w", p.cfg.Address, err)
}

// Flush waits until everything is delivered, or ctx is done.
func (p *Publisher) Flush(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.work.Wait()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		p.mu.Lock()
		defer p.mu.Unlock()
		return fmt.Errorf("deliver %d events: %w", p.queued, context.Cause(ctx))
	}
}

// Close gives up what is not delivered and waits for the publisher's
// goroutines.
func (p *Publisher) Close() {
	p.mu.Lock()
	closed := p.closed
	p.closed = true
	p.mu.Unlock()
	if !closed {
		close(p.stop)
	}
	p.line.close()
	p.work.Wait()
}
