// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"foundry/datapath/store"
)

// edit is a record that is put or deleted.
type edit struct {
	record  any // EndpointRecord, NetworkRecord, ...
	deleted bool
	note    string // why, when nobody asked for it
}

// kindOf names a record in store and events.
func kindOf(record any) (kind Kind, key string) {
	switch r := record.(type) {
	case EndpointRecord:
		return KindEndpoint, r.Title()
	case NetworkRecord:
		return KindNetwork, r.Title()
	case PeerRecord:
		return KindPeer, r.Title()
	case RemoteRecord:
		return KindRemote, r.key().text()
	case UnderlayRecord:
		return KindUnderlay, "uplink"
	}
	return "", ""
}

// encode is a record as the store has it.
func encode(record any) ([]byte, error) {
	if r, ok := record.(RemoteRecord); ok {
		return r.pack(), nil
	}
	return json.Marshal(record)
}

// decode is the record that is in the store.
func decode(kind Kind, key string, value []byte) (record any, err error) {
	switch kind {
	case KindEndpoint:
		return read[EndpointRecord](value)
	case KindNetwork:
		return read[NetworkRecord](value)
	case KindPeer:
		return read[PeerRecord](value)
	case KindRemote:
		k, err := remoteKey(key)
		if err != nil {
			return nil, err
		}
		return unpack(k, string(value))
	case KindUnderlay:
		return read[UnderlayRecord](value)
	}
	return nil, fmt.Errorf("unknown kind %q", kind)
}

func read[T any](value []byte) (any, error) {
	var r T
	err := json.Unmarshal(value, &r)
	return r, err
}

// load takes the records in.
func (c *Control) load() (err error) {
	if _, c.revision, err = c.store.Revisions(); err != nil {
		return err
	}
	return c.store.Each(func(kind, key string, value []byte) error {
		record, err := decode(Kind(kind), key, value)
		if err != nil {
			return fmt.Errorf("record of %s %s: %w", kind, key, err)
		}
		c.have.put(record)
		return nil
	})
}

// recordLocked writes the edits, takes them in, and wakes the watches: all of
// them or none.
func (c *Control) recordLocked(edits ...edit) error {
	if c.closed {
		return ErrClosed
	}
	if len(edits) == 0 {
		return nil
	}
	changes := make([]store.Change, len(edits))
	for i, e := range edits {
		if endpoint, ok := e.record.(EndpointRecord); ok && endpoint.Generation == 0 {
			endpoint.Generation = c.revision + uint64(i) + 1
			edits[i].record, e.record = endpoint, endpoint
		}
		value, err := encode(e.record)
		if err != nil {
			return err
		}
		kind, key := kindOf(e.record)
		changes[i] = store.Change{Kind: string(kind), Key: key, Value: value, Deleted: e.deleted, Note: e.note}
	}
	revision, err := c.store.Apply(changes)
	if err != nil {
		return err
	}
	for _, e := range edits {
		if e.deleted {
			c.have.drop(e.record)
		} else {
			c.have.put(e.record)
		}
	}
	c.revision = revision
	close(c.changed)
	c.changed = make(chan struct{})
	return nil
}

// updateLocked changes the maps. When an earlier call ended half way, it
// begins with what is recorded.
func (c *Control) updateLocked(d Delta) error {
	_, err := c.data.Update(d)
	if !errors.Is(err, ErrNotSet) {
		return err
	}
	if _, again := c.reconcileLocked(context.Background(), false); again != nil {
		return errors.Join(err, again)
	}
	_, err = c.data.Update(d)
	return err
}

// changeLocked changes the maps, and then the records: what is recorded is
// there. When either fails the maps are changed back.
func (c *Control) changeLocked(do, undo Delta, edits ...edit) error {
	if c.closed {
		return ErrClosed
	}
	err := c.updateLocked(do)
	if err == nil {
		c.step("maps")
		err = c.recordLocked(edits...)
	}
	if err != nil {
		return errors.Join(err, c.updateLocked(undo))
	}
	c.step("record")
	return nil
}

// Watch tells of all changes after a revision, once each and in order, until
// ctx ends or Control is closed. Its revision is a Snapshot's, or that of the
// last Event that was seen, be it before a restart; 0 is from now on. A watch
// that began too long ago is ErrCompacted, as is one that reads so slowly that
// it falls behind: then it is the Err of its last event.
func (c *Control) Watch(ctx context.Context, since uint64) (<-chan Event, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, ErrClosed
	}
	if since == 0 {
		since = c.revision
	}
	if _, err := c.store.Since(since, 1); err != nil {
		return nil, watchError(err)
	}
	events := make(chan Event)
	c.work.Go(func() {
		defer close(events)
		c.tell(ctx, since, events)
	})
	return events, nil
}

func watchError(err error) error {
	if errors.Is(err, store.ErrCompacted) {
		return fmt.Errorf("watch: %w: %w", ErrCompacted, err)
	}
	return fmt.Errorf("watch: %w", err)
}

// tell reads the changes from the store, some at a time, so that a slow reader
// costs no memory and holds nobody up.
func (c *Control) tell(ctx context.Context, since uint64, events chan<- Event) {
	for {
		c.mu.Lock()
		changed := c.changed
		c.mu.Unlock()
		changes, err := c.store.Since(since, 64)
		if err != nil {
			c.pass(ctx, events, Event{Revision: since, Err: watchError(err)})
			return
		}
		for _, change := range changes {
			if !c.pass(ctx, events, event(change)) {
				return
			}
			since = change.Revision
		}
		if len(changes) > 0 {
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		case <-c.done:
			return
		}
	}
}

// pass hands an event over, unless nobody is there any more.
func (c *Control) pass(ctx context.Context, events chan<- Event, e Event) bool {
	select {
	case events <- e:
		return true
	case <-ctx.Done():
	case <-c.done:
	}
	return false
}

func event(change store.Change) Event {
	e := Event{Revision: change.Revision, Kind: Kind(change.Kind), Name: change.Key, Deleted: change.Deleted, Reason: change.Note}
	if e.Record, e.Err = decode(e.Kind, change.Key, change.Value); e.Kind == KindRemote && e.Err == nil {
		e.Name = e.Record.(RemoteRecord).Title()
	}
	return e
}
