// SPDX-License-Identifier: Apache-2.0

package veth

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// inode identifies the namespace of the thread that asks.
func inode(t testing.TB) string {
	t.Helper()
	name, err := os.Readlink(threadNS)
	if err != nil {
		t.Error(err)
	}
	return name
}

func TestDo(t *testing.T) {
	home, a, b := inode(t), newNS(t), newNS(t)
	var inA, inB, back, beside string
	err := a.Do(func() error {
		inA = inode(t)
		err := b.Do(func() error { inB = inode(t); return nil })
		back = inode(t)
		done := make(chan struct{})
		go func() { defer close(done); beside = inode(t) }()
		<-done
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if inA == home || inB == home || inA == inB || back != inA || beside != home {
		t.Errorf("home %s: in a %s, in b %s, in a again %s, a goroutine of it %s", home, inA, inB, back, beside)
	}
	if err := a.Do(func() error { return os.ErrClosed }); !errors.Is(err, os.ErrClosed) {
		t.Errorf("the function's error: got %v", err)
	}
	if err := a.Do(func() error { runtime.Goexit(); return nil }); err == nil {
		t.Error("the function did not return: no error")
	}
}

// No thread is left in another namespace, however many go there at once.
func TestDoLeavesNoThreadThere(t *testing.T) {
	home, ns := inode(t), newNS(t)
	var there string
	var wait sync.WaitGroup
	for range 100 {
		wait.Go(func() {
			if err := ns.Do(func() error { runtime.Gosched(); return nil }); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	_ = ns.Do(func() error { there = inode(t); return nil })
	tasks, err := filepath.Glob("/proc/self/task/*/ns/net")
	if err != nil || len(tasks) == 0 {
		t.Fatal(tasks, err)
	}
	for _, task := range tasks {
		// A thread may end meanwhile.
		if got, err := os.Readlink(task); err == nil && (got == there || got != home) {
			t.Errorf("%s: got %s, want %s", task, got, home)
		}
	}
}

// A thread that cannot go home takes nobody with it.
func TestThreadWithoutWayHome(t *testing.T) {
	home, ns := inode(t), newNS(t)
	tid := 0
	err := elsewhere(func() error {
		tid = unix.Gettid()
		if tid == os.Getpid() {
			return nil // the main thread cannot be thrown away: it is parked
		}
		if err := unix.Setns(int(ns.file.Fd()), unix.CLONE_NEWNET); err != nil {
			return err
		}
		return breakWayHome(home)
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		if err := elsewhere(func() error {
			if got := inode(t); got != home {
				return fmt.Errorf("a goroutine is in %s, want %s", got, home)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
}

// breakWayHome makes the descriptor of the thread's old namespace another file.
func breakWayHome(home string) error {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()
	for _, e := range entries {
		var fd int
		if _, err := fmt.Sscan(e.Name(), &fd); err != nil {
			return err
		}
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && to == home {
			if err := unix.Dup3(int(null.Fd()), fd, unix.O_CLOEXEC); err != nil {
				return err
			}
		}
	}
	return nil
}

func TestOpenNS(t *testing.T) {
	newNS(t) // as root
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	fifo := filepath.Join(dir, "fifo") // that nobody writes to: opening it would wait
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "absent"): "was it deleted?",
		fifo:                         fifo + ": it is none",
		file:                         file + ": it is none (was it deleted?)",
		"/proc/self/ns/mnt":          "it is none",
	} {
		if ns, err := OpenNS(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, %v, want %q", path, ns, err, want)
		}
	}
	ns, err := OpenNS("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	if err := ns.Close(); err != nil {
		t.Error(err)
	}
}

// A namespace that lost its name and its processes lives while it is held.
func TestDeletedNamespace(t *testing.T) {
	ns := newNS(t)
	p := mustCreate(t, Config{Name: "fe-1", NS: ns})
	ns.Close()
	if err := ns.Do(func() error { return nil }); err == nil || !strings.Contains(err.Error(), "enter network namespace") {
		t.Errorf("enter a closed one: got %v", err)
	}
	if _, err := Create(Config{Name: "fe-2", NS: ns}); err == nil {
		t.Error("a pair into a closed one: no error")
	}
	// It takes the devices with it, in its own time.
	for i := 0; ; i++ {
		if _, err := Find(p.Ifindex); errors.Is(err, ErrNotFound) {
			return
		} else if err != nil || i > 1e6 {
			t.Fatal(err, i)
		}
		runtime.Gosched()
	}
}
