// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"sync"
	"time"
)

// Span is a piece of work. A nil one is not recorded.
type Span struct {
	tracer  *Tracer
	name    string
	kind    int
	trace   [16]byte
	id      [8]byte
	parent  [8]byte
	state   string // tracestate, passed on as it came
	baggage string // the same
	begin   time.Time
	end     time.Time
	failure string
	sampled bool

	mu    sync.Mutex // guards attrs
	attrs []string   // pairs
}

// The kinds of OTLP.
const (
	kindInternal = 1
	kindServer   = 2
)

type spanKey struct{}

// From is the span that ctx carries, or nil.
func From(ctx context.Context) *Span {
	s, _ := ctx.Value(spanKey{}).(*Span)
	return s
}

// Parent is where a request comes from, as W3C's headers have it.
type Parent struct{ Traceparent, Tracestate, Baggage string }

// Request begins the span of a request. The span is in the context too.
func (t *Tracer) Request(ctx context.Context, p Parent, name string) (context.Context, *Span) {
	if t == nil {
		return ctx, nil
	}
	s := &Span{tracer: t, name: name, kind: kindServer, begin: time.Now(), baggage: p.Baggage}
	if trace, parent, sampled, ok := parse(p.Traceparent); ok {
		s.trace, s.parent, s.state = trace, parent, p.Tracestate
		s.sampled = sampled
		if !t.cfg.Parents {
			s.sampled = t.keeps(trace)
		}
	} else {
		rand.Read(s.trace[:]) // never fails
		s.sampled = t.keeps(s.trace)
	}
	rand.Read(s.id[:])
	return context.WithValue(ctx, spanKey{}, s), s
}

// keeps says whether a trace is within the share of those to be kept.
func (t *Tracer) keeps(trace [16]byte) bool {
	switch r := t.cfg.Ratio; {
	case r < 0:
		return false
	case r == 0 || r >= 1:
		return true
	default:
		return binary.BigEndian.Uint64(trace[8:])>>1 < uint64(r*(1<<63))
	}
}

// parse reads a traceparent: 00-TRACE-PARENT-FLAGS, all in hex.
func parse(text string) (trace [16]byte, parent [8]byte, sampled, ok bool) {
	f := strings.Split(text, "-")
	if len(f) < 4 || len(f[0]) != 2 || f[0] == "ff" || len(f[1]) != 32 || len(f[2]) != 16 || len(f[3]) != 2 {
		return trace, parent, false, false
	}
	var flags [1]byte
	_, err1 := hex.Decode(trace[:], []byte(f[1]))
	_, err2 := hex.Decode(parent[:], []byte(f[2]))
	_, err3 := hex.Decode(flags[:], []byte(f[3]))
	ok = err1 == nil && err2 == nil && err3 == nil && trace != [16]byte{} && parent != [8]byte{}
	return trace, parent, flags[0]&1 == 1, ok
}

// Env is what a child process gets of the trace.
func (s *Span) Env() []string {
	if s == nil {
		return nil
	}
	flags := "00"
	if s.sampled {
		flags = "01"
	}
	env := []string{"TRACEPARENT=00-" + hex.EncodeToString(s.trace[:]) + "-" + hex.EncodeToString(s.id[:]) + "-" + flags}
	if s.state != "" {
		env = append(env, "TRACESTATE="+s.state)
	}
	if s.baggage != "" {
		env = append(env, "BAGGAGE="+s.baggage)
	}
	return env
}

// Set adds an attribute.
func (s *Span) Set(name, value string) {
	if s == nil || value == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attrs = append(s.attrs, name, value)
}

// Part adds a child that has just ended.
func (s *Span) Part(name string, took time.Duration) {
	if s == nil || !s.sampled {
		return
	}
	now := time.Now()
	c := &Span{name: name, kind: kindInternal, trace: s.trace, parent: s.id, begin: now.Add(-took), end: now}
	rand.Read(c.id[:])
	s.tracer.take(c)
}

// End ends the span, and hands it over to be sent. It is called once.
func (s *Span) End(err error) {
	if s == nil || !s.sampled {
		return
	}
	s.end = time.Now()
	if err != nil {
		s.failure = err.Error()
	}
	s.tracer.take(s)
}
