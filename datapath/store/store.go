// SPDX-License-Identifier: Apache-2.0

package store

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"
)

// Config says where the file is.
type Config struct {
	Path    string
	History int           // changes kept; 0: 8192
	Wait    time.Duration // for another process to leave the file; 0: 3 s
}

// Change is a record that was put, or deleted: then Value is what it was.
type Change struct {
	Revision uint64 // filled in
	Kind     string
	Key      string
	Value    []byte
	Deleted  bool
	Note     string // why; kept with the change only
}

// Errors that callers look for.
var (
	ErrCompacted = errors.New("changes are no longer kept")
	ErrInUse     = errors.New("another process has it open")
	ErrForeign   = errors.New("not a store of this program")
	ErrCorrupt   = errors.New("damaged")
)

// schema is the layout of the buckets.
const schema = 1

var (
	bucketMeta    = []byte("meta")
	bucketRecords = []byte("records") // kind 0 key -> value
	bucketLog     = []byte("log")     // revision, big endian -> change
	keySchema     = []byte("schema")
	keyRevision   = []byte("revision") // of the newest change
	keyOldest     = []byte("oldest")   // the first revision that a reader can go on from
)

// Store is an open file. Its methods may be called by several goroutines.
type Store struct {
	db      *bbolt.DB
	history uint64
}

// Close lets another process have the file.
func (s *Store) Close() error { return s.db.Close() }

// Path of the file.
func (s *Store) Path() string { return s.db.Path() }

// Apply makes all changes, or none, and returns the revision of the last. Each
// gets a revision, and Revision of the argument's elements is filled in.
func (s *Store) Apply(changes []Change) (revision uint64, err error) {
	err = s.db.Update(func(tx *bbolt.Tx) error {
		revision = number(tx, keyRevision)
		records := tx.Bucket(bucketRecords)
		for i := range changes {
			revision++
			changes[i].Revision = revision
			if err := put(records, &changes[i]); err != nil {
				return fmt.Errorf("%s %s: %w", changes[i].Kind, changes[i].Key, err)
			}
		}
		return s.log(tx, changes, revision)
	})
	if err != nil {
		return 0, fmt.Errorf("write %s: %w", s.db.Path(), err)
	}
	return revision, nil
}

func put(records *bbolt.Bucket, c *Change) error {
	key := recordKey(c.Kind, c.Key)
	if c.Deleted {
		return records.Delete(key)
	}
	return records.Put(key, c.Value)
}

// log appends to the changes, and forgets the oldest.
func (s *Store) log(tx *bbolt.Tx, changes []Change, revision uint64) error {
	log := tx.Bucket(bucketLog)
	oldest := number(tx, keyOldest)
	if revision-oldest > s.history {
		oldest = revision - s.history
		if err := forget(log, oldest); err != nil {
			return err
		}
	}
	for i := range changes {
		if changes[i].Revision <= oldest {
			continue
		}
		if err := log.Put(bigEndian(changes[i].Revision), encode(&changes[i])); err != nil {
			return err
		}
	}
	meta := tx.Bucket(bucketMeta)
	return errors.Join(meta.Put(keyRevision, bigEndian(revision)), meta.Put(keyOldest, bigEndian(oldest)))
}

// forget deletes changes up to a revision.
func forget(log *bbolt.Bucket, upTo uint64) error {
	for c := log.Cursor(); ; {
		k, _ := c.First()
		if k == nil || binary.BigEndian.Uint64(k) > upTo {
			return nil
		}
		if err := c.Delete(); err != nil {
			return err
		}
	}
}

// Each calls f for each record, in the order of kinds and keys. Value is valid
// in the call only.
func (s *Store) Each(f func(kind, key string, value []byte) error) error {
	err := s.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketRecords).ForEach(func(k, v []byte) error {
			kind, key, err := splitKey(k)
			if err != nil {
				return err
			}
			return f(kind, key, v)
		})
	})
	if err != nil {
		return fmt.Errorf("read %s: %w", s.db.Path(), err)
	}
	return nil
}

// Revisions returns the oldest revision that Since can go on from, and the
// newest.
func (s *Store) Revisions() (oldest, newest uint64, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		oldest, newest = number(tx, keyOldest), number(tx, keyRevision)
		return nil
	})
	return oldest, newest, err
}

// Since returns the changes after a revision, at most limit, in order; none
// when it is the newest. A revision before the oldest, or one that this store
// has not reached, is ErrCompacted.
func (s *Store) Since(revision uint64, limit int) (changes []Change, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		if oldest, newest := number(tx, keyOldest), number(tx, keyRevision); revision < oldest || revision > newest {
			return fmt.Errorf("changes after %d of %s: %w: there are those after %d up to %d", revision, s.db.Path(), ErrCompacted, oldest, newest)
		}
		c := tx.Bucket(bucketLog).Cursor()
		for k, v := c.Seek(bigEndian(revision + 1)); k != nil && len(changes) < limit; k, v = c.Next() {
			change, err := decode(v)
			if err != nil {
				return fmt.Errorf("read change %d of %s: %w", binary.BigEndian.Uint64(k), s.db.Path(), err)
			}
			change.Revision = binary.BigEndian.Uint64(k)
			changes = append(changes, change)
		}
		return nil
	})
	return changes, err
}

func number(tx *bbolt.Tx, key []byte) uint64 {
	v := tx.Bucket(bucketMeta).Get(key)
	if len(v) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(v)
}

func bigEndian(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func (c Config) history() uint64 { return uint64(cmp.Or(c.History, 8192)) }

func (c Config) wait() time.Duration { return cmp.Or(c.Wait, 3*time.Second) }
