// SPDX-License-Identifier: Apache-2.0

package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sys/unix"
)

// Open opens the file, or makes a new one. A file that it cannot use it leaves
// as it is.
func Open(c Config) (*Store, error) {
	memory, err := inMemory(filepath.Dir(c.Path))
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	s := &Store{history: c.history()}
	if err := guarded(func() error { return s.open(c, memory) }); err != nil {
		if s.db != nil {
			err = errors.Join(err, guarded(s.db.Close))
		}
		return nil, explain(c.Path, err)
	}
	return s, nil
}

func (s *Store) open(c Config, memory bool) (err error) {
	options := bbolt.Options{Timeout: c.wait(), NoSync: memory, NoGrowSync: memory, FreelistType: bbolt.FreelistMapType, NoStatistics: true}
	if err := inspect(c.Path, options); err != nil {
		return err
	}
	if s.db, err = bbolt.Open(c.Path, 0o600, &options); err != nil {
		return err
	}
	return s.db.Update(begin)
}

// inspect looks at the whole of a file, if it is ours, before anything is
// written to it.
func inspect(path string, options bbolt.Options) error {
	if info, err := os.Stat(path); errors.Is(err, os.ErrNotExist) || err == nil && info.Size() == 0 {
		return nil // new
	} else if err != nil {
		return err
	} else if least := 2 * int64(os.Getpagesize()); info.Size() < least {
		return fmt.Errorf("%w: it has %d bytes, and the least is %d", ErrCorrupt, info.Size(), least)
	}
	options.ReadOnly = true
	db, err := bbolt.Open(path, 0o600, &options)
	if err != nil {
		return err
	}
	return errors.Join(db.View(check), db.Close())
}

func check(tx *bbolt.Tx) error {
	// Pages that are not there are a fault of whoever reads them.
	if info, err := os.Stat(tx.DB().Path()); err != nil || info.Size() < tx.Size() {
		return errors.Join(fmt.Errorf("%w: it is shorter than it says, %d bytes", ErrCorrupt, tx.Size()), err)
	}
	meta := tx.Bucket(bucketMeta)
	if name, _ := tx.Cursor().First(); meta == nil && name == nil {
		return nil // killed before it was begun
	} else if meta == nil {
		return ErrForeign
	}
	if v := meta.Get(keySchema); len(v) != 8 {
		return ErrForeign
	} else if n := binary.BigEndian.Uint64(v); n != schema {
		return fmt.Errorf("%w: its schema is %d, this program knows %d", ErrForeign, n, schema)
	}
	if err := walk(tx); err != nil {
		return err
	}
	var errs []error
	for err := range tx.Check() {
		errs = append(errs, err)
	}
	if len(errs) > 0 {
		return fmt.Errorf("%w: %w", ErrCorrupt, errs[0])
	}
	return nil
}

// walk reads all that there is, in this goroutine, where a fault is an error;
// bbolt's own check has another.
func walk(tx *bbolt.Tx) error {
	for _, name := range [][]byte{bucketMeta, bucketRecords, bucketLog} {
		b := tx.Bucket(name)
		if b == nil {
			return fmt.Errorf("%w: it has no %s", ErrCorrupt, name)
		}
		if err := b.ForEach(func(k, v []byte) error { return nil }); err != nil {
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
	}
	return nil
}

// begin makes the buckets of a new file. Its revisions begin at the clock, in
// microseconds: one that was read in a file that is gone since is before them,
// and its reader is told to read all again.
func begin(tx *bbolt.Tx) error {
	if tx.Bucket(bucketMeta) != nil {
		return nil
	}
	for _, name := range [][]byte{bucketMeta, bucketRecords, bucketLog} {
		if _, err := tx.CreateBucket(name); err != nil {
			return err
		}
	}
	first := bigEndian(uint64(time.Now().UnixMicro()))
	meta := tx.Bucket(bucketMeta)
	return errors.Join(meta.Put(keySchema, bigEndian(schema)), meta.Put(keyRevision, first), meta.Put(keyOldest, first))
}

// guarded turns what a damaged file does to its reader into an error: bbolt
// panics, and pages beyond the end of the file are a fault.
func guarded(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", ErrCorrupt, p)
		}
	}()
	return f()
}

func explain(path string, err error) error {
	const aside = "move the file aside to begin with an empty one: endpoints that it knew are then removed"
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return fmt.Errorf("open store %s: %w (stop the other server of this instance)", path, ErrInUse)
	case errors.Is(err, ErrForeign):
		return fmt.Errorf("open store %s: %w (start the program that wrote it, or %s)", path, err, aside)
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrChecksum), errors.Is(err, bolterrors.ErrVersionMismatch):
		return fmt.Errorf("open store %s: %w: %w (%s)", path, ErrCorrupt, err, aside)
	case errors.Is(err, ErrCorrupt):
		return fmt.Errorf("open store %s: %w (%s)", path, err, aside)
	}
	return fmt.Errorf("open store %s: %w", path, err)
}

// inMemory says whether files in dir are gone when the machine is.
func inMemory(dir string) (bool, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return false, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	return fs.Type == unix.TMPFS_MAGIC || fs.Type == unix.RAMFS_MAGIC, nil
}
