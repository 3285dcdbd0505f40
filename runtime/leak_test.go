// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"foundry/runtime/journal"
)

// The cgroup of another is neither used nor emptied nor removed, be it by the
// failed Create or by a delete after it.
func TestForeignCgroup(t *testing.T) {
	w := newWorld(t)
	b := w.start("owner", "sleep", "60")
	spec := w.spec("guest", "true")
	spec.Linux.CgroupsPath = w.group + "/owner"
	_, err := w.tryCreate("guest", spec)
	if err == nil || !strings.Contains(err.Error(), "/owner") || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("got %v", err)
	}
	dir, err := journal.Dir(w.root, "test", "guest")
	if err != nil {
		t.Fatal(err)
	}
	j, err := journal.Create(dir) // as of a server that died just there
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(j.Append(journal.Entry{Kind: journal.Opened, ID: "guest"}),
		j.Append(journal.Entry{Kind: journal.Cgroup, Path: w.group + "/owner"}), j.Close())
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := Reclaim(t.Context(), ReclaimConfig{Root: w.root, Namespace: "test", ID: "guest", Bundle: w.dir}); err != nil {
		t.Error(err)
	}
	if pids, err := b.Pids(); err != nil || !slices.Equal(pids, []int{b.Pid()}) {
		t.Errorf("the owner: got pids %v, %v", pids, err)
	}
}

// With no mount namespace the container's root is mounted on the host.
func TestMountsOnTheHostAreUndone(t *testing.T) {
	w := newWorld(t)
	// The spec is refused today; whoever allows it has the undoing tested.
	spec := w.spec("hostmnt", "sleep", "60")
	spec.Linux.Namespaces = slices.DeleteFunc(spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.MountNamespace })
	spec.Linux.MaskedPaths, spec.Linux.ReadonlyPaths = nil, nil
	b, err := w.tryCreate("hostmnt", spec)
	if err != nil {
		t.Logf("refused: %v", err)
	} else if err := b.Delete(ctx(t)); err != nil {
		t.Fatal(err)
	}
	if left := w.traces(t); left != nil {
		t.Errorf("left behind: %v", left)
	}
}

// The server's descriptors do not grow with what has come and gone.
func TestNothingIsLeft(t *testing.T) {
	w := newWorld(t)
	life := func(id string) {
		b := w.start(id, "sleep", "60")
		b.exec("true")
		if err := b.KillAll(ctx(t), syscall.SIGKILL); err != nil {
			t.Error(err)
		}
		b.wait()
		if err := b.Delete(ctx(t)); err != nil {
			t.Error(err)
		}
		b.out.text()
		b.out.r.Close()
	}
	life("first") // opens what stays open: the helpers' cgroup and the like
	before := openFiles()
	for i := range 5 {
		life(fmt.Sprint("next", i))
	}
	if after := openFiles(); len(after) > len(before) {
		t.Errorf("descriptors: got %d\n%v\nwant %d\n%v", len(after), after, len(before), before)
	}
	w.router.mu.Lock()
	defer w.router.mu.Unlock()
	if len(w.router.byKey) != 0 {
		t.Errorf("exits that are still expected: %d", len(w.router.byKey))
	}
}

func TestHundredAtOnce(t *testing.T) {
	w := newWorld(t)
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			id := fmt.Sprint("many", i)
			if err := oneOfMany(w, id, i%50); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if left := w.traces(t); left != nil {
		t.Errorf("left behind: %v", left)
	}
}

func oneOfMany(w *world, id string, status int) error {
	exits := make(chan Exit, 1)
	spec := w.spec(id, "sh", "-c", fmt.Sprint("exit ", status))
	c, err := w.Create(ctx(w.t), CreateConfig{
		Namespace: "test", ID: id, Bundle: w.bundle(id, spec), Rootfs: w.rootfs(), OnExit: func(e Exit) { exits <- e },
	})
	if err != nil {
		return err
	}
	err = c.Start(ctx(w.t))
	if err == nil {
		e := <-exits
		if e.Status != status {
			err = fmt.Errorf("%s: got status %d, want %d", id, e.Status, status)
		}
		err = errors.Join(err, e.Ack())
	}
	return errors.Join(err, c.Delete(ctx(w.t)))
}
