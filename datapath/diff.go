// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Change is one write to a map or a link, made or to be made. Of writes to one
// map that are very many there is one Change, whose key is "N entries".
type Change struct {
	Verb   string // put, delete, attach, update, detach, pin, raise
	Object string // "fdb", or a link
	Key    string
	Count  int // of entries; 1 if they are not many
}

func (c Change) String() string { return fmt.Sprintf("%s %s %s", c.Verb, c.Object, c.Key) }

// listed is how many writes to one map are told one by one.
const listed = 1000

// step is what is done to one map or one link at once.
type step struct {
	verb, object string
	n            int
	key          func(i int) string
	do           func() (done int, err error)
	undo         func() error
}

// changes are the first n of a step.
func (s step) changes(n int) (list []Change) {
	if n > listed {
		return []Change{{s.verb, s.object, fmt.Sprintf("%d entries", n), n}}
	}
	for i := range n {
		list = append(list, Change{s.verb, s.object, s.key(i), 1})
	}
	return list
}

func changes(steps []step) (list []Change) {
	for _, s := range steps {
		list = append(list, s.changes(s.n)...)
	}
	return list
}

// apply does the steps and returns what was done, which after an error is the
// beginning, and how many steps were begun.
func apply(steps []step) (done []Change, begun int, err error) {
	for i, s := range steps {
		n, err := s.do()
		done = append(done, s.changes(n)...)
		if err != nil {
			return done, i + 1, fmt.Errorf("%s %s: %w", s.verb, s.object, err)
		}
	}
	return done, len(steps), nil
}

// revert undoes the steps, the last first. What was not done is as it was.
func revert(steps []step) error {
	var errs []error
	for _, s := range slices.Backward(steps) {
		if s.undo == nil {
			continue
		}
		if err := s.undo(); err != nil {
			errs = append(errs, fmt.Errorf("undo %s %s: %w", s.verb, s.object, err))
		}
	}
	return errors.Join(errs...)
}

// comparison collects the steps of all maps, and the first error.
type comparison struct {
	early, puts, deletes []step
	commit               []func() // what is counted after all went well
	err                  error
}

// write is what one map lacks.
type write[K, V comparable] struct {
	*table[K, V]
	want          map[K]V
	old           map[K]V // what Update replaces and deletes
	puts, deletes []K
	added         int // of the puts
}

// against compares a layer with its map: with all of it for a Set, with what
// the call touches for an Update.
func against[K, V comparable](c *comparison, t *table[K, V], l *layer[K, V], whole bool) {
	w := &write[K, V]{table: t, want: l.puts, old: map[K]V{}}
	entries := t.entries
	if whole {
		entries = 0
		c.fail(w.all(&entries))
	} else {
		c.fail(w.some(l))
	}
	c.fail(l.err)
	if peak := entries + w.added; peak > t.size && len(w.puts) > 0 {
		if peak-len(w.deletes) > t.size {
			c.fail(t.full(peak - len(w.deletes)))
		}
		c.early = append(c.early, w.deleteStep()...) // there is no room for both
	} else {
		c.deletes = append(c.deletes, w.deleteStep()...)
	}
	c.puts = append(c.puts, w.putStep()...)
	c.commit = append(c.commit, func() { t.entries = entries + w.added - len(w.deletes) })
}

func (c *comparison) fail(err error) {
	if c.err == nil {
		c.err = err
	}
}

// all compares with the whole map. What is as wanted is forgotten on the way:
// two copies of a large map are never in memory.
func (w *write[K, V]) all(entries *int) error {
	replaced := map[K]bool{}
	err := w.rows.each(func(k K, have V) {
		*entries++
		v, ok := w.want[k]
		switch {
		case !ok:
			w.deletes = append(w.deletes, k)
		case v == have:
			delete(w.want, k)
		default:
			replaced[k] = true
		}
	})
	w.puts, w.added = slices.AppendSeq(make([]K, 0, len(w.want)), maps.Keys(w.want)), len(w.want)-len(replaced)
	w.sort()
	return err
}

// some compares with the entries that a call touches.
func (w *write[K, V]) some(l *layer[K, V]) error {
	for k, v := range l.puts {
		have, ok, err := w.rows.get(k)
		if err != nil {
			return err
		}
		if ok {
			w.old[k] = have
		}
		if !ok || have != v {
			w.puts = append(w.puts, k)
		}
		if !ok {
			w.added++
		}
	}
	for k := range l.drops {
		have, ok, err := w.rows.get(k)
		if err != nil {
			return err
		}
		if ok {
			w.old[k], w.deletes = have, append(w.deletes, k)
		}
	}
	w.sort()
	return nil
}

// sort makes what people read the same from run to run; what is too long to
// be read is left as it is.
func (w *write[K, V]) sort() {
	for _, keys := range [][]K{w.puts, w.deletes} {
		if len(keys) <= listed {
			slices.SortFunc(keys, w.order)
		}
	}
}

func (w *write[K, V]) putStep() []step {
	if len(w.puts) == 0 {
		return nil
	}
	return []step{{"put", w.name, len(w.puts), func(i int) string { return text(w.puts[i]) },
		func() (int, error) { return w.put(w.puts, w.want) }, func() error { return w.restore(w.puts) }}}
}

func (w *write[K, V]) deleteStep() []step {
	if len(w.deletes) == 0 {
		return nil
	}
	return []step{{"delete", w.name, len(w.deletes), func(i int) string { return text(w.deletes[i]) },
		func() (int, error) { return w.rows.remove(w.deletes) }, func() error { return w.restore(w.deletes) }}}
}

// restore makes entries what they were.
func (w *write[K, V]) restore(keys []K) error {
	var had, had0 []K
	for _, k := range keys {
		if _, ok := w.old[k]; ok {
			had = append(had, k)
		} else {
			had0 = append(had0, k)
		}
	}
	_, err := w.put(had, w.old)
	_, err2 := w.rows.remove(had0)
	return errors.Join(err, err2)
}
