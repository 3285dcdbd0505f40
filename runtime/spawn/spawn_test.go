// SPDX-License-Identifier: Apache-2.0

package spawn

import (
	"context"
	"os"
	"syscall"
	"testing"
)

func TestExitStatus(t *testing.T) {
	w := newWorld(t, 16)
	for _, c := range []struct {
		script       string
		status, sign int
	}{
		{"exit 0", 0, 0},
		{"exit 7", 7, 0},
		{"exit 255", 255, 0},
		{"kill -9 $$", 137, 9},
		{"kill -15 $$", 143, 15},
		{"kill -11 $$", 139, 11},
	} {
		p := w.spawn(hostPlan("sh", "-c", c.script))
		w.reach(p, PointExec)
		e := w.exit(p)
		if e.Status != c.status || e.Signal != c.sign || e.Pid != p.Pid {
			t.Errorf("%s: got %+v, want status %d, signal %d, pid %d", c.script, e, c.status, c.sign, p.Pid)
		}
		if err := p.Signal(syscall.SIGTERM); err == nil {
			t.Error("a process that has ended took a signal")
		}
	}
}

// TestSyncAfterInterruption: a context that ends while Sync has its answer
// already, does not end the next Sync.
func TestSyncAfterInterruption(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	defer r.Close()
	p := &Process{status: r}
	for range 2000 {
		ctx, cancel := context.WithCancel(t.Context())
		if _, err := w.WriteString("H"); err != nil {
			t.Fatal(err)
		}
		go cancel()
		if _, err := p.Sync(ctx); err != nil {
			if _, err := p.Sync(t.Context()); err != nil {
				t.Fatalf("after an interrupted one: %v", err)
			}
		}
		if _, err := w.WriteString("R"); err != nil {
			t.Fatal(err)
		}
		if point, err := p.Sync(t.Context()); err != nil || point != PointReady {
			t.Fatalf("got %v, %v", point, err)
		}
	}
}
