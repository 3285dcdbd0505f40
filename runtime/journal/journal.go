// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Errors that callers tell apart. [Create] says fs.ErrExist and [Open] says
// fs.ErrNotExist in the usual way.
var (
	ErrCorrupt = errors.New("journal is damaged")
	errGone    = errors.New("journal was removed meanwhile")
)

const (
	fileName   = "journal"
	lockPoll   = 2 * time.Millisecond
	maxRetries = 100
)

// Dir is the directory of a container's journal. The names come from
// containerd, which validates them; a name that would leave the directory is
// refused here all the same.
func Dir(root, namespace, id string) (string, error) {
	for _, name := range []string{namespace, id} {
		if name == "" || name == "." || name == ".." || len(name) > 255 || strings.ContainsAny(name, "/\x00") {
			return "", fmt.Errorf("journal of %q in namespace %q: not a valid name", id, namespace)
		}
	}
	return filepath.Join(root, "c", namespace, id), nil
}

// Journal is an open, locked journal. Its methods may be called from several
// goroutines.
type Journal struct {
	dir string

	mu   sync.Mutex // guards file
	file *os.File   // nil once closed
}

// Create starts the journal in dir, which it makes. An error that is
// fs.ErrExist means that there is one already.
func Create(dir string) (*Journal, error) {
	// The directory of the namespace is removed with its last container, so
	// another container's deletion may take it from under us: try again.
	var err error
	for range maxRetries {
		var j *Journal
		if j, err = create(dir); err == nil {
			return j, nil
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errGone) {
			break
		}
	}
	return nil, fmt.Errorf("create journal: %w", err)
}

func create(dir string) (*Journal, error) {
	// os.MkdirAll confuses a directory that vanishes with one that exists.
	ns := filepath.Dir(dir)
	if err := os.MkdirAll(filepath.Dir(ns), 0o700); err != nil {
		return nil, err
	}
	for _, d := range []string{ns, dir} {
		if err := os.Mkdir(d, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
	}
	f, err := os.OpenFile(filepath.Join(dir, fileName), os.O_RDWR|os.O_APPEND|os.O_CREATE|os.O_EXCL|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	// A delete may have seen the empty file before our lock; it then removes it.
	if err := lock(context.Background(), f); err != nil {
		f.Close()
		return nil, err
	}
	return &Journal{dir: dir, file: f}, nil
}

// Open opens the journal in dir once nobody else has it open. An error that is
// fs.ErrNotExist means that there is none.
func Open(ctx context.Context, dir string) (*Journal, error) {
	f, err := os.OpenFile(filepath.Join(dir, fileName), os.O_RDWR|os.O_APPEND|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	if err := lock(ctx, f); err != nil {
		f.Close()
		if errors.Is(err, errGone) {
			err = &fs.PathError{Op: "open", Path: f.Name(), Err: fs.ErrNotExist}
		}
		return nil, fmt.Errorf("open journal: %w", err)
	}
	return &Journal{dir: dir, file: f}, nil
}

// lock takes the flock of f and makes sure that f is still in its directory.
// It polls because flock(2) cannot be given up when ctx ends; the lock is free
// at once in all but races.
func lock(ctx context.Context, f *os.File) error {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			break
		}
		if err != syscall.EWOULDBLOCK && err != syscall.EINTR {
			return &fs.PathError{Op: "flock", Path: f.Name(), Err: err}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("flock %s: held by a live server: %w", f.Name(), context.Cause(ctx))
		case <-time.After(lockPoll):
		}
	}
	var st syscall.Stat_t
	if err := syscall.Fstat(int(f.Fd()), &st); err != nil {
		return &fs.PathError{Op: "fstat", Path: f.Name(), Err: err}
	}
	if st.Nlink == 0 {
		return errGone
	}
	return nil
}

// Append writes e. When it returns nil the entry survives the process.
func (j *Journal) Append(e Entry) error {
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("append %s to journal: %w", e.Kind, err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file == nil {
		return fmt.Errorf("append %s to journal: %w", e.Kind, fs.ErrClosed)
	}
	if _, err := j.file.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("append %s to journal: %w", e.Kind, err)
	}
	return nil
}

// Entries reads the journal. See [Read] for damaged ones.
func (j *Journal) Entries() ([]Entry, error) { return Read(j.dir) }

// Read reads the journal in dir without its lock. With an error that is
// [ErrCorrupt] it returns the entries that could be read all the same, so that
// a cleanup can do what is known.
func Read(dir string) ([]Entry, error) {
	data, err := os.ReadFile(filepath.Join(dir, fileName))
	if err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	return parse(data)
}

func parse(data []byte) ([]Entry, error) {
	var entries []Entry
	var bad []error
	for n := 1; len(data) > 0; n++ {
		line, rest, whole := bytes.Cut(data, []byte("\n"))
		data = rest
		var e Entry
		err := json.Unmarshal(line, &e)
		switch {
		case err == nil && whole:
			entries = append(entries, e)
		case whole:
			bad = append(bad, fmt.Errorf("read journal: line %d: %w (%w)", n, ErrCorrupt, err))
		}
	}
	return entries, errors.Join(bad...)
}

// Remove deletes the journal, its directory and, when it was the last, the
// namespace's; then closes it. Absent is success.
func (j *Journal) Remove() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file == nil {
		return nil
	}
	if err := os.Remove(filepath.Join(j.dir, fileName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove journal: %w", err)
	}
	if err := Sweep(j.dir); err != nil {
		return err
	}
	return j.closeLocked()
}

// Sweep removes the directory of a journal that is not there: a crash came
// between making the one and the other, or between their removal. A journal
// that is there stays. Absent is success.
func Sweep(dir string) error {
	// Not empty means that somebody is creating a container there.
	for _, dir := range []string{dir, filepath.Dir(dir)} {
		if err := syscall.Rmdir(dir); err != nil && err != syscall.ENOTEMPTY && err != syscall.EEXIST && err != syscall.ENOENT {
			return fmt.Errorf("remove journal: %w", &fs.PathError{Op: "rmdir", Path: dir, Err: err})
		}
	}
	return nil
}

// Close gives the journal up without deleting it.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.closeLocked()
}

func (j *Journal) closeLocked() error {
	if j.file == nil {
		return nil
	}
	err := j.file.Close()
	j.file = nil
	if err != nil {
		return fmt.Errorf("close journal: %w", err)
	}
	return nil
}
