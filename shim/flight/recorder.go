// SPDX-License-Identifier: Apache-2.0

package flight

import (
	"cmp"
	"container/list"
	"slices"
	"sync"
	"time"

	"foundry/shim/view"
)

const (
	ofInit    = 192 // events of a container and its init
	ofExecs   = 64  // events of its execs
	maxDetail = 8 << 10
	eventSize = 160 // bytes of an event without its strings
)

// Config bounds a Recorder.
type Config struct {
	Keep  time.Duration    // of a record whose container is gone; 0: an hour
	Bytes int              // of all records; 0: 4 MiB
	Now   func() time.Time // nil: time.Now
}

// Key names a container.
type Key struct{ Namespace, ID string }

// Recorder holds the records. Its methods may be called from several
// goroutines, and none waits for more than the others.
type Recorder struct {
	cfg Config

	mu      sync.Mutex // guards what follows
	records map[Key]*record
	gone    *list.List // of *record, the first one that went in front
	bytes   int
}

// record is the events of one key. Each ring drops its oldest.
type record struct {
	key      Key
	own      []note
	execs    []note
	seq      int
	dropped  int
	since    time.Time     // when it went
	position *list.Element // in gone; nil while the container is there
}

// note is an event with its place among the others.
type note struct {
	seq int
	view.Event
}

func (n note) size() int {
	return eventSize + len(n.What) + len(n.Process) + len(n.Detail)
}

// New returns a Recorder without records.
func New(cfg Config) *Recorder {
	if cfg.Keep == 0 {
		cfg.Keep = time.Hour
	}
	if cfg.Bytes == 0 {
		cfg.Bytes = 4 << 20
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Recorder{cfg: cfg, records: map[Key]*record{}, gone: list.New()}
}

// Note adds an event. Without a time it happened now.
func (r *Recorder) Note(k Key, e view.Event) {
	if e.At.IsZero() {
		e.At = r.cfg.Now()
	}
	if n := len(e.Detail); n > maxDetail { // what matters is at both ends
		e.Detail = e.Detail[:maxDetail/2] + " [...] " + e.Detail[n-maxDetail/2:]
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	rec := r.records[k]
	if rec == nil {
		rec = &record{key: k}
		r.records[k] = rec
	}
	if rec.position != nil && e.What == view.Create { // the id is used again
		r.gone.Remove(rec.position)
		rec.position = nil
	}
	rec.seq++
	n := note{rec.seq, e}
	r.bytes += n.size()
	if e.Process == "" {
		rec.own = r.pushLocked(rec, rec.own, n, ofInit)
	} else {
		rec.execs = r.pushLocked(rec, rec.execs, n, ofExecs)
	}
	r.boundLocked()
}

func (r *Recorder) pushLocked(rec *record, ring []note, n note, limit int) []note {
	if len(ring) < limit {
		return append(ring, n)
	}
	r.bytes -= ring[0].size()
	rec.dropped++
	copy(ring, ring[1:])
	ring[limit-1] = n
	return ring
}

// Gone tells that the container is no more. Its record stays for a while.
func (r *Recorder) Gone(k Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rec := r.records[k]
	if rec == nil || rec.position != nil {
		return
	}
	rec.since = r.cfg.Now()
	rec.own, rec.execs = slices.Clip(rec.own), slices.Clip(rec.execs)
	rec.position = r.gone.PushBack(rec)
	r.boundLocked()
}

// boundLocked forgets records whose time is over and, beyond the bound on
// memory, the oldest of those whose container is gone; when there are none,
// execs' events of whoever has some.
func (r *Recorder) boundLocked() {
	old := r.cfg.Now().Add(-r.cfg.Keep)
	for e := r.gone.Front(); e != nil; e = r.gone.Front() {
		rec := e.Value.(*record)
		if r.bytes <= r.cfg.Bytes && rec.since.After(old) {
			return
		}
		r.gone.Remove(e)
		delete(r.records, rec.key)
		r.bytes -= size(rec.own) + size(rec.execs)
	}
	for _, rec := range r.records {
		if r.bytes <= r.cfg.Bytes {
			return
		}
		r.bytes -= size(rec.execs)
		rec.dropped += len(rec.execs)
		rec.execs = nil
		// What is left is not much: the first half tells how it came to be.
		if r.bytes > r.cfg.Bytes && len(rec.own) > 1 {
			half := len(rec.own) / 2
			r.bytes -= size(rec.own[half:])
			rec.dropped += len(rec.own) - half
			rec.own = slices.Clone(rec.own[:half])
		}
	}
}

func size(notes []note) (n int) {
	for _, e := range notes {
		n += e.size()
	}
	return n
}

// Get returns the record of k.
func (r *Recorder) Get(k Key) (view.Flight, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.boundLocked()
	rec := r.records[k]
	if rec == nil {
		return view.Flight{}, false
	}
	return rec.flight(), true
}

// All returns all records, those of the same namespace together, without
// their events.
func (r *Recorder) All() []view.Flight {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.boundLocked()
	all := make([]view.Flight, 0, len(r.records))
	for _, rec := range r.records {
		all = append(all, rec.summary())
	}
	slices.SortFunc(all, func(a, b view.Flight) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.ID, b.ID))
	})
	return all
}

// summary is the record without its events. How it stands with a container is
// told by its own alone, and while many are summed up every call waits that has
// something to note.
func (rec *record) summary() view.Flight {
	f := view.Flight{Namespace: rec.key.Namespace, ID: rec.key.ID, Dropped: rec.dropped, Cause: Explain(eventsOf(rec.own))}
	if rec.position != nil {
		since := rec.since
		f.Gone = &since
	}
	return f
}

func (rec *record) flight() view.Flight {
	f := rec.summary()
	notes := append(slices.Clone(rec.own), rec.execs...)
	slices.SortFunc(notes, func(a, b note) int { return a.seq - b.seq })
	f.Events = eventsOf(notes)
	return f
}

func eventsOf(notes []note) []view.Event {
	events := make([]view.Event, 0, len(notes))
	for _, n := range notes {
		events = append(events, n.Event)
	}
	return events
}
