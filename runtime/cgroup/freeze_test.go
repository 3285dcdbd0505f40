// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// counter makes a file longer all the time.
func counter(t *testing.T, g *Group) (size func() int64) {
	t.Helper()
	name := t.TempDir() + "/counter"
	run(t, g, "echo ready; while :; do echo >>"+name+"; done")
	return func() int64 {
		st, err := os.Stat(name)
		if err != nil {
			return 0
		}
		return st.Size()
	}
}

func frozen(t *testing.T, g *Group) bool {
	t.Helper()
	f, err := g.Frozen()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFreeze(t *testing.T) {
	info := hostInfo(t)
	g := create(t, info, groupPath(t, info), nil)
	size := counter(t, g)
	eventually(t, "it runs", func() bool { return size() > 0 })
	if frozen(t, g) {
		t.Error("frozen before")
	}
	for range 2 { // twice is as good as once
		if err := g.Freeze(within(t, 10*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	if !frozen(t, g) {
		t.Error("not frozen after Freeze")
	}
	at := size()
	if n := size(); n != at || len(pidsOf(t, g)) == 0 {
		t.Errorf("it went on from %d to %d", at, n)
	}
	if err := g.Thaw(); err != nil {
		t.Fatal(err)
	}
	if frozen(t, g) {
		t.Error("frozen after Thaw")
	}
	eventually(t, "it runs again", func() bool { return size() > at })
}

// Someone who enters a group below a frozen one stops as well.
func TestFrozenFromAbove(t *testing.T) {
	info := hostInfo(t)
	pod, err := Own(Config{Info: info, Path: groupPath(t, info)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(pod.Thaw(), pod.Remove()); err != nil {
			t.Error(err)
		}
	})
	g := create(t, info, pod.Path()+"/web", nil)
	run(t, g, "echo ready; exec sleep 1000")
	if err := pod.Freeze(within(t, 10*time.Second)); err != nil {
		t.Fatal(err)
	}
	if !frozen(t, g) {
		t.Error("a group in a frozen one is not frozen")
	}
	if !info.Unified && info.Hybrid == "" {
		if err := g.Kill(within(t, 50*time.Millisecond)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Kill below a frozen group: %v", err)
		}
	}
	if err := pod.Thaw(); err != nil {
		t.Fatal(err)
	}
	if frozen(t, g) {
		t.Error("still frozen")
	}
}

// A group whose members fork all the time is frozen and killed nonetheless.
func TestFreezeAndKillForks(t *testing.T) {
	info := hostInfo(t)
	g := create(t, info, groupPath(t, info), &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ptr(int64(100))}})
	// Room for all: a shell that cannot fork ends.
	run(t, g, "n=0; while [ $n -lt 30 ]; do n=$((n+1)); (while :; do : & wait; done) & done; echo ready; wait")
	eventually(t, "it forks", func() bool { return len(pidsOf(t, g)) > 20 })
	for range 3 {
		if err := g.Freeze(within(t, 20*time.Second)); err != nil {
			t.Fatal(err)
		}
		if err := g.Thaw(); err != nil {
			t.Fatal(err)
		}
	}
	if err := g.Kill(within(t, 20*time.Second)); err != nil {
		t.Fatal(err)
	}
	if pids := pidsOf(t, g); len(pids) > 0 {
		t.Errorf("%v are left", pids)
	}
}

func TestKillFrozen(t *testing.T) {
	info := hostInfo(t)
	g := create(t, info, groupPath(t, info), nil)
	cmd := run(t, g, "sleep 1000 & echo ready; exec sleep 1000")
	if err := g.Freeze(within(t, 10*time.Second)); err != nil {
		t.Fatal(err)
	}
	if err := g.Kill(within(t, 10*time.Second)); err != nil {
		t.Fatal(err)
	}
	if _ = cmd.Wait(); cmd.ProcessState.String() != "signal: killed" {
		t.Errorf("the process ended with %v", cmd.ProcessState)
	}
}

// Groups that the container made and froze itself are killed too.
func TestKillNestedFrozen(t *testing.T) {
	info := hostInfo(t)
	g := create(t, info, groupPath(t, info), nil)
	inner := create(t, info, g.Path()+"/inner", nil)
	run(t, inner, "echo ready; exec sleep 1000")
	if err := inner.Freeze(within(t, 10*time.Second)); err != nil {
		t.Fatal(err)
	}
	if err := g.Kill(within(t, 10*time.Second)); err != nil {
		t.Fatal(err)
	}
}

func TestKillOfNobody(t *testing.T) {
	info := hostInfo(t)
	p := groupPath(t, info)
	g := create(t, info, p, nil)
	if err := g.Kill(within(t, time.Second)); err != nil {
		t.Errorf("empty group: %v", err)
	}
	if err := g.Remove(); err != nil {
		t.Fatal(err)
	}
	for name, do := range map[string]func() error{
		"Kill":   func() error { return g.Kill(within(t, time.Second)) },
		"Thaw":   g.Thaw,
		"Remove": g.Remove,
		"Frozen": func() error { _, err := g.Frozen(); return err },
		"Pids":   func() error { _, err := g.Pids(); return err },
		"OOM":    func() error { _, err := g.OOMKills(); return err },
	} {
		if err := do(); err != nil {
			t.Errorf("%s of an absent group: %v", name, err)
		}
	}
	if err := g.Freeze(within(t, time.Second)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Freeze of an absent group: %v", err)
	}
}

// A member in uninterruptible wait keeps a group from being frozen: here a
// context that is over already. The group must run on.
func TestFreezeGivesUp(t *testing.T) {
	info := hostInfo(t)
	g := create(t, info, groupPath(t, info), nil)
	size := counter(t, g)
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(fmt.Errorf("no more time"))
	if err := g.Freeze(ctx); err != nil && !strings.Contains(err.Error(), "no more time") {
		t.Errorf("Freeze: %v", err)
	} else if err == nil {
		if err := g.Thaw(); err != nil { // it was quicker than the context
			t.Fatal(err)
		}
	}
	at := size()
	eventually(t, "it runs", func() bool { return size() > at })
}

// A hundred groups below the container's, five deep, one with a process.
func TestRemoveNested(t *testing.T) {
	info := hostInfo(t)
	g := create(t, info, groupPath(t, info), nil)
	for _, dir := range g.all() {
		for n := range 20 {
			if err := os.MkdirAll(fmt.Sprintf("%s/%d/a/b/c/d", dir, n), 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := g.Remove(); err != nil {
		t.Fatal(err)
	}
	for _, dir := range g.all() {
		if exists(dir) {
			t.Errorf("%s is left", dir)
		}
	}
}

// A hundred groups that the container made, processes in many of them, one of
// those frozen, in every hierarchy: Kill and Remove leave nothing.
func TestEndOfNested(t *testing.T) {
	info := hostInfo(t)
	g := create(t, info, groupPath(t, info), nil)
	run(t, g, "for n in 1 2 3 4 5 6 7 8 9 10; do sleep 1000 & done; echo ready; wait")
	pids := pidsOf(t, g)
	for n := range 100 {
		inner := newGroup(info, fmt.Sprintf("%s/n%d/%d", g.path, n%10, n))
		for _, dir := range inner.all() {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			_ = (&maker{g: inner}).cpuset(dir, nil) // a v1 cpuset lets nobody in without
		}
		if n < len(pids) {
			if err := inner.Add(pids[n]); err != nil {
				t.Fatal(err)
			}
		}
		if n == 3 {
			if err := inner.Freeze(within(t, 10*time.Second)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := pidsOf(t, g); len(got) != len(pids) {
		t.Errorf("Pids = %v, want %v", got, pids)
	}
	if err := errors.Join(g.Kill(within(t, 20*time.Second)), g.Remove()); err != nil {
		t.Fatal(err)
	}
	for _, dir := range g.all() {
		if exists(dir) {
			t.Errorf("%s is left", dir)
		}
	}
}

// Remove names who is in the way, and succeeds when they are gone in time.
func TestRemoveBusy(t *testing.T) {
	info := hostInfo(t)
	g := create(t, info, groupPath(t, info), nil)
	cmd := run(t, g, "echo ready; exec sleep 1000")
	err := g.Remove()
	if err == nil || !strings.Contains(err.Error(), itoa(cmd.Process.Pid)) {
		t.Fatalf("Remove with a process: %v", err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if err := g.Remove(); err != nil {
		t.Error(err)
	}
	wg.Wait()
}

// Some kernels kill whatever is cloned into a group that cgroup.kill was
// written to. Create must hand out a group in which a process can live.
func TestCreateAfterKill(t *testing.T) {
	info := hostInfo(t)
	p := groupPath(t, info)
	for range 3 {
		g := create(t, info, p, nil)
		cmd := run(t, g, "echo ready; exec sleep 1000")
		if err := g.Kill(within(t, 10*time.Second)); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
	}
}
