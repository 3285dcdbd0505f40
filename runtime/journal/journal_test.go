// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
)

func testDir(t *testing.T) (root, dir string) {
	t.Helper()
	root = t.TempDir()
	dir, err := Dir(root, "default", "web-1")
	if err != nil {
		t.Fatal(err)
	}
	return root, dir
}

func TestEntriesComeBackInOrder(t *testing.T) {
	_, dir := testDir(t)
	j, err := Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	want := []Entry{
		{Kind: Opened, Namespace: "default", ID: "web-1", Bundle: "/b", Slots: "/s", Key: 1<<63 + 5},
		{Kind: Cgroup, Path: "/default/web-1"},
		{Kind: Process, Key: 1<<63 + 5, Pid: 7, Start: 99},
		{Kind: Exited, Pid: 7, Status: 137, Signal: 9, At: time.Unix(1, 5).UTC()},
	}
	for _, e := range want {
		if err := j.Append(e); err != nil {
			t.Fatal(err)
		}
	}
	got, err := j.Entries()
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

func TestFold(t *testing.T) {
	exit := Entry{Kind: Exited, Pid: 7, Status: 3}
	for _, tt := range []struct {
		name    string
		entries []Entry
		want    Record
	}{
		{"nothing", nil, Record{}},
		{"opened alone", []Entry{{Kind: Opened, ID: "a", Key: 4}}, Record{ID: "a", Key: 4}},
		{"all", []Entry{
			{Kind: Opened, Namespace: "n", ID: "a", Bundle: "/b", Slots: "/s", Key: 4},
			{Kind: Cgroup, Path: "/n/a"}, {Kind: Mounts, Path: "/b/rootfs"}, {Kind: Hooks},
			{Kind: Spawn}, {Kind: Process, Key: 4, Pid: 7, Start: 8}, exit, {Kind: Poststop},
		}, Record{Namespace: "n", ID: "a", Bundle: "/b", Slots: "/s", Key: 4, Cgroup: "/n/a", Mounts: "/b/rootfs",
			Spawned: true, Pid: 7, Start: 8, Hooks: true, Poststop: true, Exit: &exit}},
		{"a kind of a later version", []Entry{{Kind: "pinned", Path: "/x"}, {Kind: Hooks}}, Record{Hooks: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := Fold(tt.entries); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

func TestDamage(t *testing.T) {
	for _, tt := range []struct {
		name, data string
		want       int
		corrupt    bool
	}{
		{"empty", "", 0, false},
		{"torn last line", "{\"kind\":\"hooks\"}\n{\"kind\":\"cgr", 1, false},
		{"whole but without its newline", "{\"kind\":\"hooks\"}\n{\"kind\":\"cgroup\"}", 1, false},
		{"garbage between", "{\"kind\":\"hooks\"}\nxx\n{\"kind\":\"cgroup\",\"path\":\"/a\"}\n", 2, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parse([]byte(tt.data))
			if len(got) != tt.want || errors.Is(err, ErrCorrupt) != tt.corrupt {
				t.Errorf("got %d entries, error %v; want %d, corrupt %v", len(got), err, tt.want, tt.corrupt)
			}
		})
	}
}

func TestNamesThatLeaveTheDirectory(t *testing.T) {
	for _, name := range []string{"", ".", "..", "a/b", "a\x00", strings.Repeat("a", 256)} {
		if got, err := Dir("/r", "default", name); err == nil {
			t.Errorf("Dir(%q) = %q, want an error", name, got)
		}
		if got, err := Dir("/r", name, "web-1"); err == nil {
			t.Errorf("namespace %q: %q, want an error", name, got)
		}
	}
}

func TestSecondCreateIsRefused(t *testing.T) {
	_, dir := testDir(t)
	j, err := Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	if _, err := Create(dir); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v, want fs.ErrExist", err)
	}
}

func TestOpenWaitsForTheHolder(t *testing.T) {
	_, dir := testDir(t)
	j, err := Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := Open(ctx, dir); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("held: got %v, want the deadline", err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Open(t.Context(), dir)
	if err != nil {
		t.Fatalf("free: %v", err)
	}
	again.Close()
}

func TestRemoveLeavesNothingAndWakesWaiters(t *testing.T) {
	root, dir := testDir(t)
	j, err := Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	opened := make(chan error)
	go func() {
		_, err := Open(context.Background(), dir)
		opened <- err
	}()
	for range 2 {
		if err := j.Remove(); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-opened; !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("waiter: got %v, want fs.ErrNotExist", err)
	}
	left, err := os.ReadDir(filepath.Join(root, "c"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if err := j.Append(Entry{Kind: Hooks}); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("append after Remove: got %v, want fs.ErrClosed", err)
	}
}

// The directory of the namespace goes with its last container: creating and
// removing side by side must not see each other's.
func TestCreateAndRemoveInParallel(t *testing.T) {
	root := t.TempDir()
	var wg sync.WaitGroup
	for _, id := range []string{"a", "b", "c", "d"} {
		wg.Go(func() {
			dir, err := Dir(root, "default", id)
			if err != nil {
				t.Error(err)
				return
			}
			for range 200 {
				j, err := Create(dir)
				if err != nil {
					t.Error(err)
					return
				}
				if err := errors.Join(j.Append(Entry{Kind: Hooks}), j.Remove()); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// Whatever a file holds, what was appended to it whole is read.
func FuzzParse(f *testing.F) {
	f.Add([]byte("{\"kind\":\"hooks\"}\n"))
	f.Add([]byte("{\"kind\":\"cgroup\",\"path\":\"/a\"}\n{\"kind\":\"exi"))
	f.Fuzz(func(t *testing.T, data []byte) {
		before, _ := parse(data)
		Fold(before)
		if len(data) > 0 && data[len(data)-1] != '\n' {
			data = append(data, '\n')
		}
		after, _ := parse(append(data, "{\"kind\":\"poststop\"}\n"...))
		if !Fold(after).Poststop || len(after) < len(before) {
			t.Errorf("got %d entries before, %d after one more", len(before), len(after))
		}
	})
}

// A server that is killed between the journal's directory and its file, on the
// way in or out, leaves the directory alone.
func TestSweep(t *testing.T) {
	dir, err := Dir(t.TempDir(), "ns", "c")
	if err != nil {
		t.Fatal(err)
	}
	if err := Sweep(dir); err != nil {
		t.Errorf("absent: %v", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Sweep(dir); err != nil {
		t.Errorf("empty: %v", err)
	}
	if _, err := os.Stat(filepath.Dir(dir)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the namespace's directory: got %v, want none", err)
	}
	j, err := Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	if err := Sweep(dir); err != nil {
		t.Errorf("in use: %v", err)
	}
	if err := j.Append(Entry{Kind: Opened}); err != nil {
		t.Error(err)
	}
	if entries, err := Read(dir); err != nil || len(entries) != 1 {
		t.Errorf("the journal after all: got %v, %v", entries, err)
	}
}
