// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	v1 "github.com/containerd/cgroups/v3/cgroup1/stats"
	v2 "github.com/containerd/cgroups/v3/cgroup2/stats"
	"github.com/opencontainers/runtime-spec/specs-go"
)

func newWatcher(t *testing.T) *Watcher {
	t.Helper()
	w, err := NewWatcher()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// hog eats memory until it is killed: tail keeps a line that never ends.
const hog = "echo ready; tail /dev/zero; echo $? >&2; exec sleep 1000"

func memoryLimit(n int64) *specs.LinuxResources {
	return &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &n, Swap: &n}}
}

func TestOOM(t *testing.T) {
	info := hostInfo(t)
	w := newWatcher(t)
	g := create(t, info, groupPath(t, info), memoryLimit(32<<20))
	other := create(t, info, filepath.Dir(g.Path())+"/"+t.Name()+"_other", nil)
	told := make(chan struct{}, 100)
	stop, err := w.Watch(g, func() { told <- struct{}{} })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Watch(other, func() { t.Error("told of a group that lost nobody") }); err != nil {
		t.Fatal(err)
	}
	if n, err := g.OOMKills(); n != 0 || err != nil {
		t.Fatalf("OOMKills = %d, %v before", n, err)
	}
	run(t, g, hog)
	select {
	case <-told:
	case <-time.After(30 * time.Second):
		t.Fatal("not told of an oom kill")
	}
	if n, err := g.OOMKills(); n != 1 || err != nil {
		t.Errorf("OOMKills = %d, %v, want 1", n, err)
	}
	stats, err := g.Stats()
	if err != nil {
		t.Fatal(err)
	}
	switch s := stats.(type) {
	case *v1.Metrics:
		if s.MemoryOomControl.OomKill != 1 {
			t.Errorf("memory_oom_control = %v", s.MemoryOomControl)
		}
	case *v2.Metrics:
		if s.MemoryEvents.OomKill != 1 {
			t.Errorf("memory_events = %v", s.MemoryEvents)
		}
	}
	stop()
	stop()
}

// The limit that is hit is that of a pod, the group above; the victim's own
// group must report it.
func TestOOMOfPod(t *testing.T) {
	info := hostInfo(t)
	w := newWatcher(t)
	pod, err := Own(Config{Info: info, Path: groupPath(t, info), Resources: memoryLimit(32 << 20)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pod.Remove(); err != nil {
			t.Error(err)
		}
	})
	g := create(t, info, pod.Path()+"/web", nil)
	idle := create(t, info, pod.Path()+"/idle", nil)
	told := make(chan struct{}, 100)
	for _, x := range []struct {
		g  *Group
		fn func()
	}{{g, func() { told <- struct{}{} }}, {idle, func() { t.Error("told of a container that lost nobody") }}} {
		if _, err := w.Watch(x.g, x.fn); err != nil {
			t.Fatal(err)
		}
	}
	run(t, g, hog)
	select {
	case <-told:
	case <-time.After(30 * time.Second):
		t.Fatal("not told of an oom kill")
	}
	if n, err := g.OOMKills(); n != 1 || err != nil {
		t.Errorf("OOMKills = %d, %v, want 1", n, err)
	}
}

// Kills in a group that the container made for itself are the container's.
func TestOOMOfNested(t *testing.T) {
	info := hostInfo(t)
	w := newWatcher(t)
	g := create(t, info, groupPath(t, info), nil)
	inner := create(t, info, g.Path()+"/inner", memoryLimit(32<<20))
	told := make(chan struct{}, 100)
	if _, err := w.Watch(g, func() { told <- struct{}{} }); err != nil {
		t.Fatal(err)
	}
	run(t, inner, hog)
	eventually(t, "the kill is counted", func() bool {
		n, err := g.OOMKills()
		return n == 1 && err == nil
	})
	if info.Unified { // v1 does not tell the groups above; they are asked at exit
		<-told
	}
}

func TestWatchWithoutKiller(t *testing.T) {
	info := hostInfo(t)
	if info.Unified {
		t.Skip("cgroup v2 cannot switch the OOM killer off")
	}
	w := newWatcher(t)
	r := memoryLimit(32 << 20)
	r.Memory.DisableOOMKiller = ptr(true)
	g := create(t, info, groupPath(t, info), r)
	told := make(chan struct{}, 100)
	if _, err := w.Watch(g, func() { told <- struct{}{} }); err != nil {
		t.Fatal(err)
	}
	run(t, g, hog)
	select {
	case <-told:
	case <-time.After(30 * time.Second):
		t.Fatal("not told that memory ran out")
	}
	if n, _ := g.OOMKills(); n != 0 {
		t.Errorf("OOMKills = %d although the killer is off", n)
	}
}

// Five hundred groups cost one goroutine, and an inotify watch or an eventfd each.
func TestWatchMany(t *testing.T) {
	info := hostInfo(t)
	const many = 200
	before := runtime.NumGoroutine()
	fds := openFDs(t)
	w, err := NewWatcher()
	if err != nil {
		t.Fatal(err)
	}
	base := groupPath(t, info)
	top, err := Own(Config{Info: info, Path: base})
	if err != nil {
		t.Fatal(err)
	}
	defer top.Remove()
	for n := range many {
		g := create(t, info, base+"/"+itoa(n), nil)
		if _, err := w.Watch(g, func() { t.Error("told of a kill") }); err != nil {
			t.Fatal(err)
		}
		if n%2 == 0 { // removing the group under its watch is no kill either
			if err := g.Remove(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := runtime.NumGoroutine(); n > before+1 {
		t.Errorf("%d goroutines more", n-before)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if n := openFDs(t); n > fds+1 { // the poller's own
		t.Errorf("%d descriptors are left", n-fds)
	}
}

func openFDs(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
