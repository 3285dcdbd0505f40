// SPDX-License-Identifier: Apache-2.0

package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func open(t *testing.T, c Config) *Store {
	t.Helper()
	if c.Path == "" {
		c.Path = filepath.Join(t.TempDir(), "network")
	}
	s, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func apply(t *testing.T, s *Store, changes ...Change) uint64 {
	t.Helper()
	revision, err := s.Apply(changes)
	if err != nil {
		t.Fatal(err)
	}
	return revision
}

// records are all, one a line.
func records(t *testing.T, s *Store) string {
	t.Helper()
	var b strings.Builder
	if err := s.Each(func(kind, key string, value []byte) error {
		fmt.Fprintf(&b, "%s %s=%s\n", kind, key, value)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// since is what changed after a revision, one a line, with numbers from there.
func since(t *testing.T, s *Store, revision uint64, limit int) string {
	t.Helper()
	changes, err := s.Since(revision, limit)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, c := range changes {
		verb := "put"
		if c.Deleted {
			verb = "delete"
		}
		fmt.Fprintf(&b, "+%d %s %s %s=%s %s\n", c.Revision-revision, verb, c.Kind, c.Key, c.Value, c.Note)
	}
	return b.String()
}

func TestChangesGoOnAfterRestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "network")
	s := open(t, Config{Path: path})
	_, begin, err := s.Revisions()
	if err != nil {
		t.Fatal(err)
	}
	apply(t, s, Change{Kind: "network", Key: "1", Value: []byte("a")}, Change{Kind: "endpoint", Key: "1", Value: []byte("b")})
	seen := apply(t, s, Change{Kind: "network", Key: "1", Value: []byte("c")})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, Config{Path: path})
	apply(t, s, Change{Kind: "endpoint", Key: "1", Value: []byte("b"), Deleted: true, Note: "gone"})
	if got, want := records(t, s), "network 1=c\n"; got != want {
		t.Errorf("records: got\n%swant\n%s", got, want)
	}
	if got, want := since(t, s, seen, 10), "+1 delete endpoint 1=b gone\n"; got != want {
		t.Errorf("since the restart: got\n%swant\n%s", got, want)
	}
	want := "+1 put network 1=a \n+2 put endpoint 1=b \n+3 put network 1=c \n+4 delete endpoint 1=b gone\n"
	if got := since(t, s, begin, 10); got != want {
		t.Errorf("since the beginning: got\n%swant\n%s", got, want)
	}
	if got, want := since(t, s, begin, 1), "+1 put network 1=a \n"; got != want {
		t.Errorf("with a limit: got\n%swant\n%s", got, want)
	}
}

func TestHistoryIsBounded(t *testing.T) {
	s := open(t, Config{History: 3})
	_, begin, _ := s.Revisions()
	for i := range 5 {
		apply(t, s, Change{Kind: "network", Key: fmt.Sprint(i)})
	}
	if _, err := s.Since(begin+1, 10); !errors.Is(err, ErrCompacted) {
		t.Errorf("too long ago: got %v", err)
	}
	if got, want := since(t, s, begin+2, 10), "+1 put network 2= \n+2 put network 3= \n+3 put network 4= \n"; got != want {
		t.Errorf("the oldest: got\n%swant\n%s", got, want)
	}
	many := make([]Change, 10)
	for i := range many {
		many[i] = Change{Kind: "remote", Key: fmt.Sprint(i)}
	}
	last := apply(t, s, many...)
	if got, want := since(t, s, last-3, 10), "+1 put remote 7= \n+2 put remote 8= \n+3 put remote 9= \n"; got != want {
		t.Errorf("more at once than are kept: got\n%swant\n%s", got, want)
	}
	if n := strings.Count(records(t, s), "\n"); n != 15 {
		t.Errorf("records: got %d, want 15", n)
	}
}

// A revision of a file that is gone is never taken for one of its successor.
func TestRevisionsOfAnotherFile(t *testing.T) {
	first := open(t, Config{})
	old := apply(t, first, Change{Kind: "network", Key: "1"})
	second := open(t, Config{})
	apply(t, second, Change{Kind: "network", Key: "1"}, Change{Kind: "network", Key: "2"})
	if _, err := second.Since(old, 10); !errors.Is(err, ErrCompacted) {
		t.Errorf("a revision of the file before: got %v", err)
	}
	if _, err := first.Since(old+1, 10); !errors.Is(err, ErrCompacted) {
		t.Errorf("a revision that is not there yet: got %v", err)
	}
}

func TestAllOrNothing(t *testing.T) {
	s := open(t, Config{})
	before := apply(t, s, Change{Kind: "network", Key: "1"})
	_, err := s.Apply([]Change{{Kind: "network", Key: "2"}, {Kind: "network", Key: strings.Repeat("k", 1<<16)}})
	if err == nil {
		t.Fatal("a key of 64 KiB was taken")
	}
	if got := since(t, s, before, 10); got != "" || strings.Count(records(t, s), "\n") != 1 {
		t.Errorf("half of it was made: changes\n%srecords\n%s", got, records(t, s))
	}
}

func TestOneProcess(t *testing.T) {
	s := open(t, Config{})
	if _, err := Open(Config{Path: s.Path(), Wait: time.Millisecond}); !errors.Is(err, ErrInUse) {
		t.Errorf("got %v", err)
	}
}

// Every file that is not a store is refused with what to do, and stays as it is.
func TestForeignAndDamagedFiles(t *testing.T) {
	whole := open(t, Config{})
	for i := range 200 {
		apply(t, whole, Change{Kind: "endpoint", Key: fmt.Sprint(i), Value: make([]byte, 300)})
	}
	path := whole.Path()
	whole.Close()
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	page := os.Getpagesize()
	for name, c := range map[string]struct {
		content []byte
		want    error
	}{
		"text":      {[]byte(strings.Repeat("server=1\n", 2000)), ErrCorrupt},
		"zeroes":    {make([]byte, 4*page), ErrCorrupt},
		"truncated": {good[:6*page], ErrCorrupt},
		"two pages": {good[:2*page], ErrCorrupt},
		"meta only": {good[:100], ErrCorrupt},
		"one page":  {good[:page+100], ErrCorrupt},
		"scrambled": {scramble(good, page), ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) { refused(t, c.content, c.want) })
	}
}

// scramble overwrites all pages but those that say what the file is.
func scramble(b []byte, page int) []byte {
	b = slices.Clone(b)
	for i := 2 * page; i < len(b); i++ {
		b[i] = 0xff
	}
	return b
}

func refused(t *testing.T, content []byte, want error) {
	path := filepath.Join(t.TempDir(), "network")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(Config{Path: path})
	if err == nil {
		s.Close()
	}
	if !errors.Is(err, want) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "move the file aside") {
		t.Errorf("got %v", err)
	}
	if after, err := os.ReadFile(path); err != nil || !slices.Equal(after, content) {
		t.Errorf("the file was changed: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(encode(&Change{Kind: "network", Key: "100", Value: []byte("{}"), Note: "why"}))
	f.Add([]byte{changeDelete, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := decode(b)
		if err != nil {
			return
		}
		again, err := decode(encode(&c))
		if err != nil || again.Kind != c.Kind || again.Key != c.Key || again.Note != c.Note || !slices.Equal(again.Value, c.Value) || again.Deleted != c.Deleted {
			t.Errorf("got %+v, %v, want %+v", again, err, c)
		}
	})
}
