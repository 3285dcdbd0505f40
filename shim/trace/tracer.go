// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	maxWaiting = 4096 // spans; more are dropped
	maxBatch   = 512
	tries      = 4 // for a batch, over about 4 s
)

// Tracer takes spans and sends them. A nil one does nothing.
type Tracer struct {
	cfg        Config
	full       chan struct{} // there is a batch
	stop       chan struct{}
	done       chan struct{}
	sent, lost atomic.Uint64

	mu      sync.Mutex // guards the two below
	waiting []*Span
	closed  bool
}

// New returns a tracer, whose goroutine ends with Close.
func New(cfg Config) *Tracer {
	cfg.Timeout = cmp.Or(cfg.Timeout, 10*time.Second)
	cfg.Batch = cmp.Or(cfg.Batch, 2*time.Second)
	if cfg.Client == nil {
		cfg.Client = &http.Client{Transport: &http.Transport{}}
	}
	t := &Tracer{cfg: cfg, full: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
	go t.run()
	return t
}

// Endpoint is where the spans go; "" of a nil tracer.
func (t *Tracer) Endpoint() string {
	if t == nil {
		return ""
	}
	return t.cfg.Endpoint
}

// Counts is how many spans the collector has taken, and how many it has not.
func (t *Tracer) Counts() (sent, lost uint64) {
	if t == nil {
		return 0, 0
	}
	return t.sent.Load(), t.lost.Load()
}

// take queues a span that has ended; it does not wait.
func (t *Tracer) take(s *Span) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || len(t.waiting) >= maxWaiting {
		t.lost.Add(1)
		return
	}
	t.waiting = append(t.waiting, s)
	if len(t.waiting) == maxBatch {
		select {
		case t.full <- struct{}{}:
		default:
		}
	}
}

func (t *Tracer) run() {
	defer close(t.done)
	tick := time.NewTicker(t.cfg.Batch)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-t.full:
		case <-t.stop:
			t.sendAll()
			return
		}
		t.sendAll()
	}
}

func (t *Tracer) sendAll() {
	for {
		t.mu.Lock()
		n := min(len(t.waiting), maxBatch)
		batch := t.waiting[:n:n]
		if t.waiting = t.waiting[n:]; len(t.waiting) == 0 {
			t.waiting = nil
		}
		t.mu.Unlock()
		if n == 0 {
			return
		}
		if t.send(encode(t.cfg.Resource, batch)) != nil {
			t.lost.Add(uint64(n))
		} else {
			t.sent.Add(uint64(n))
		}
	}
}

// send posts a batch, again when the collector says that it is worth it.
func (t *Tracer) send(body []byte) error {
	for try := 1; ; try++ {
		again, err := t.post(body)
		if err == nil || !again || try == tries {
			return err
		}
		wait := time.NewTimer(250 * time.Millisecond << try)
		select {
		case <-wait.C:
		case <-t.stop: // one last try
			wait.Stop()
			try = tries - 1
		}
	}
}

func (t *Tracer) post(body []byte) (again bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), t.cfg.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.cfg.Endpoint, bytes.NewReader(body))
	if err != nil {
		return false, fmt.Errorf("send spans: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	for k, v := range t.cfg.Headers {
		req.Header.Set(k, v)
	}
	resp, err := t.cfg.Client.Do(req)
	if err != nil {
		return true, fmt.Errorf("send spans: %w", err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection can be used again
	switch resp.StatusCode {
	case http.StatusOK, http.StatusAccepted:
		return false, nil
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		again = true
	}
	return again, fmt.Errorf("send spans to %s: %s", t.cfg.Endpoint, resp.Status)
}

// Close sends what waits, unless ctx ends first, and ends the tracer.
func (t *Tracer) Close(ctx context.Context) error {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	closed := t.closed
	t.closed = true
	t.mu.Unlock()
	if !closed {
		close(t.stop)
	}
	select {
	case <-t.done:
		t.cfg.Client.CloseIdleConnections()
		return nil
	case <-ctx.Done():
		return fmt.Errorf("send the last spans: %w", context.Cause(ctx))
	}
}
