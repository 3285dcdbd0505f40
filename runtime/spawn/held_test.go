// SPDX-License-Identifier: Apache-2.0

package spawn

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"syscall"
	"testing"
)

func TestHoldDropFetch(t *testing.T) {
	w := newWorld(t, 16)
	r, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	many := make([]*os.File, 300)
	for i := range many {
		many[i] = w.client.null
	}
	must(t, w.client.Hold(1, 10, out))
	must(t, w.client.Hold(2, 20, many...))
	must(t, w.client.Hold(1, 11, r, out))
	must(t, w.client.Hold(1, 10, r))
	must(t, out.Close())
	if got, want := fetched(t, w), "1/10: 2 2/20: 300 1/11: 2 "; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	must(t, w.client.Drop(2, 20))
	must(t, w.client.Drop(1, 10))
	must(t, w.client.Drop(1, 4711))
	if got, want := fetched(t, w), "1/11: 2 "; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	// The last write end is closed when Drop returns.
	must(t, w.client.Drop(1, AllTags))
	if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("after the drop: read %d, %v, want the end", n, err)
	}
	if got := fetched(t, w); got != "" {
		t.Errorf("got %s, want nothing", got)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func fetched(t *testing.T, w *world) string {
	t.Helper()
	held, err := w.client.Fetch(w.context())
	must(t, err)
	out := ""
	for _, h := range held {
		out += fmt.Sprintf("%d/%d: %d ", h.Key, h.Tag, len(h.Files))
		closeFiles(h.Files)
	}
	return out
}

// TestUpgrade: a spawner is replaced under living containers.
func TestUpgrade(t *testing.T) {
	w := newWorld(t, 16)
	c := newContainer(t, "sleep", "1000")
	init := w.spawn(c.plan(t))
	w.run(init)
	created := w.spawn(newContainer(t, "true").plan(t))
	w.reach(created, PointReady)
	ended := w.spawn(hostPlan("true"))
	unacknowledged := <-w.exits
	r, out, err := os.Pipe()
	must(t, err)
	must(t, w.client.Hold(5, 6, out))
	must(t, out.Close())
	pid := w.client.Pid()
	before := w.count()

	for range 3 {
		must(t, w.client.Upgrade(w.context(), nil))
	}
	if w.client.Pid() != pid || w.count() != before {
		t.Errorf("pid %d, %s; before: pid %d, %s", w.client.Pid(), w.count(), pid, before)
	}
	if got, want := fetched(t, w), "5/6: 1 "; got != want {
		t.Errorf("held: got %s, want %s", got, want)
	}
	must(t, w.client.Ack(unacknowledged))
	again := w.spawn(hostPlan("true"))
	if again.Slot != ended.Slot {
		t.Errorf("slot %d was taken, want %d, which was acknowledged", again.Slot, ended.Slot)
	}
	w.exit(again)
	w.begin(created)
	w.exit(created)
	must(t, init.Signal(syscall.SIGKILL))
	if e := w.exit(init); e.Status != 137 {
		t.Errorf("exit after the upgrade: %+v", e)
	}
	must(t, w.client.Drop(5, 6))
	if _, err := r.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("held descriptor after the upgrade: %v", err)
	}
	r.Close()
}

// TestUpgradeFromReadOnlyMount: where memfds may not be executed.
func TestUpgradeFromReadOnlyMount(t *testing.T) {
	w := newWorld(t, 16)
	f, err := onReadOnlyMount(spawnerBinary)
	must(t, err)
	defer f.Close()
	must(t, w.client.upgradeTo(w.context(), f))
	writable, err := os.CreateTemp(t.TempDir(), "spawner")
	must(t, err)
	defer writable.Close()
	_, err = writable.Write(spawnerBinary)
	must(t, err)
	must(t, writable.Chmod(0o755))
	var answer reply
	must(t, w.client.withFDs([]*os.File{writable}, func(fds []int) error {
		answer, err = w.client.ask(context.Background(), &msg{Type: msgUpgrade}, fds, nil)
		return err
	}))
	if answer.err() == nil {
		t.Error("a file that can be written to was executed")
	}
	w.exit(w.spawn(hostPlan("true")))
}

// TestUpgradeRefused: what cannot go on is not begun.
func TestUpgradeRefused(t *testing.T) {
	w := newWorld(t, 16)
	if err := w.client.Upgrade(w.context(), []byte("#!/bin/sh\necho wire 9 state 9\n")); err == nil {
		t.Error("a script of another version was taken")
	}
	if err := w.client.Upgrade(w.context(), bytes.Repeat([]byte("x"), 100)); err == nil {
		t.Error("what is no program was taken")
	}
	// Beyond the client's check: the spawner itself goes on.
	f, err := sealed("not a program", []byte("x"), 0)
	must(t, err)
	defer f.Close()
	var answer reply
	must(t, w.client.withFDs([]*os.File{f}, func(fds []int) error {
		answer, err = w.client.ask(context.Background(), &msg{Type: msgUpgrade}, fds, nil)
		return err
	}))
	if answer.err() == nil {
		t.Error("what is no program was executed")
	}
	p := w.spawn(hostPlan("true"))
	w.exit(p)
}
