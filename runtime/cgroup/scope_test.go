// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	v1 "github.com/containerd/cgroups/v3/cgroup1/stats"
	v2 "github.com/containerd/cgroups/v3/cgroup2/stats"
	systemd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// systemdInfo skips, aloud, what needs systemd: scripts/guest.sh boots it.
func systemdInfo(t *testing.T) Info {
	t.Helper()
	info := hostInfo(t)
	if err := info.bus.call(nothing); errors.Is(err, ErrNoSystemd) {
		t.Skip("needs systemd as process 1")
	} else if err != nil {
		t.Fatal(err)
	}
	return info
}

// testSlice is of this process alone, and two levels deep.
func testSlice() string { return fmt.Sprintf("foundry-test%d.slice", os.Getpid()) }

// scopePath is a path of this test's own.
func scopePath(t *testing.T) string {
	return testSlice() + ":" + strings.ToLower(strings.ReplaceAll(t.Name(), "/", "_")) + ":c"
}

// sleeper is a process that holds a scope, and dies with the test at the latest.
func sleeper(t *testing.T) func() (Holder, error) {
	return func() (Holder, error) {
		cmd := exec.Command("/bin/sleep", "1000")
		if err := cmd.Start(); err != nil {
			return Holder{}, err
		}
		release := func() error {
			if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
				return err
			}
			_ = cmd.Wait()
			return nil
		}
		t.Cleanup(func() { _ = release() })
		return Holder{cmd.Process.Pid, release}, nil
	}
}

// scope makes a group that is a scope and goes with the test.
func scope(t *testing.T, info Info, p string, r *specs.LinuxResources) *Group {
	t.Helper()
	g, err := Create(Config{Info: info, Path: p, Resources: r, Hold: sleeper(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = g.Kill(within(t, 10*time.Second))
		if err := g.Remove(); err != nil {
			t.Error(err)
		}
		for _, dir := range g.all() {
			if exists(dir) {
				t.Errorf("%s is left", dir)
			}
		}
		if state := show(t, info, g.unit.name, "LoadState"); state != "not-found" {
			t.Errorf("unit %s is %s at the end", g.unit.name, state)
		}
	})
	return g
}

// show asks systemd for a property of a unit.
func show(t *testing.T, info Info, unit, property string) string {
	t.Helper()
	return showAll(t, info, unit, "Unit")[property] + showAll(t, info, unit, "Scope")[property]
}

func showAll(t *testing.T, info Info, unit, kind string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := info.bus.call(func(ctx context.Context, conn *systemd.Conn) error {
		props, err := conn.GetUnitTypePropertiesContext(ctx, unit, kind)
		for name, value := range props {
			all[name] = fmt.Sprint(value)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// limitProperties are those that limits become.
var limitProperties = []string{"CPUWeight", "CPUQuotaPerSecUSec", "CPUQuotaPeriodUSec", "AllowedCPUs", "AllowedMemoryNodes",
	"MemoryMax", "MemoryHigh", "MemoryLow", "MemoryMin", "MemorySwapMax", "TasksMax", "Delegate", "Slice"}

func reload(t *testing.T, info Info) {
	t.Helper()
	if err := info.bus.call(func(ctx context.Context, conn *systemd.Conn) error { return conn.ReloadContext(ctx) }); err != nil {
		t.Fatal(err)
	}
}

// TestScope follows a group through systemd: made, entered, changed, reloaded,
// nested in, removed.
func TestScope(t *testing.T) {
	info := systemdInfo(t)
	r := someLimits()
	r.CPU.Cpus = "0"
	g := scope(t, info, scopePath(t), r)
	if want := "/foundry.slice/" + testSlice() + "/testscope-c.scope"; g.Path() != want || !exists(g.members()) {
		t.Errorf("Path = %q, want %q", g.Path(), want)
	}
	pid := run(t, g, "echo ready; exec sleep 1000").Process.Pid
	if err := g.Settled(); err != nil {
		t.Fatal(err)
	}
	if pids := pidsOf(t, g); len(pids) != 1 || pids[0] != pid {
		t.Errorf("Pids = %v, want [%d]", pids, pid)
	}
	if got := file(t, g, "pids", "pids.max"); got != "100" {
		t.Errorf("pids.max = %s after Settled", got)
	}
	if got := show(t, info, g.unit.name, "Delegate"); got != "true" {
		t.Errorf("Delegate = %s", got)
	}
	if err := g.Update(&specs.LinuxResources{CPU: &specs.LinuxCPU{Shares: ptr(uint64(2048)), Quota: ptr(int64(12345))}, Pids: &specs.LinuxPids{Limit: ptr(int64(50))}}); err != nil {
		t.Fatal(err)
	}
	if got := show(t, info, g.unit.name, "TasksMax"); got != "50" {
		t.Errorf("TasksMax = %s, want 50", got)
	}
	before := limitsOf(g)
	reload(t, info)
	if after := limitsOf(g); !maps.Equal(before, after) {
		t.Errorf("a daemon-reload changed\n%v\nto\n%v", before, after)
	}
	for n := range 100 {
		inner := newGroup(info, fmt.Sprintf("%s/a/%d/b", g.path, n))
		for _, dir := range inner.all() {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			_ = (&maker{g: inner}).cpuset(dir, nil) // a v1 cpuset lets nobody in without
		}
		if n == 7 {
			if err := inner.Add(pid); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A second container of that name is refused, and the first one not hurt.
func TestScopeTaken(t *testing.T) {
	info := systemdInfo(t)
	g := scope(t, info, scopePath(t), nil)
	pid := run(t, g, "echo ready; exec sleep 1000").Process.Pid
	if err := g.Settled(); err != nil {
		t.Fatal(err)
	}
	_, err := Create(Config{Info: info, Path: scopePath(t), Hold: sleeper(t)})
	var taken *NotEmptyError
	if !errors.As(err, &taken) {
		t.Errorf("Create: %v, want a NotEmptyError", err)
	}
	if pids := pidsOf(t, g); len(pids) != 1 || pids[0] != pid {
		t.Errorf("Pids = %v, want [%d]", pids, pid)
	}
}

// A limit that is refused leaves no scope, no group and no holder.
func TestScopeUndone(t *testing.T) {
	info := systemdInfo(t)
	for name, r := range map[string]*specs.LinuxResources{
		"by systemd":    {Unified: map[string]string{"pids.max": "nonsense"}},
		"by the kernel": {CPU: &specs.LinuxCPU{Period: ptr(uint64(1))}},
		"no such file":  {Unified: map[string]string{"memory.teapot": "1"}},
	} {
		hold := sleeper(t)
		var pid int
		_, err := Create(Config{Info: info, Path: scopePath(t), Resources: r, Hold: func() (Holder, error) {
			h, err := hold()
			pid = h.Pid
			return h, err
		}})
		if err == nil {
			t.Errorf("%s: no error", name)
		}
		if exists(fmt.Sprintf("/proc/%d", pid)) {
			t.Errorf("%s: the holder lives", name)
		}
		g, err := Open(info, scopePath(t))
		if err != nil {
			t.Fatal(err)
		}
		if state := show(t, info, g.unit.name, "LoadState"); exists(g.members()) || state != "not-found" {
			t.Errorf("%s: the scope is left: %s", name, state)
		}
	}
}

// Either all of an update is in force, for systemd too, or nothing.
func TestScopeUpdateIsAtomic(t *testing.T) {
	info := systemdInfo(t)
	g := scope(t, info, scopePath(t), someLimits())
	run(t, g, "echo ready; exec sleep 1000")
	if err := g.Settled(); err != nil {
		t.Fatal(err)
	}
	before, tasks := limitsOf(g), show(t, info, g.unit.name, "TasksMax")
	for name, r := range map[string]specs.LinuxResources{
		"by the kernel": {CPU: &specs.LinuxCPU{Cpus: "4000"}},
		"period":        {CPU: &specs.LinuxCPU{Period: ptr(uint64(1))}},
		"unknown":       {Unified: map[string]string{"memory.teapot": "1"}},
	} {
		r.Pids = &specs.LinuxPids{Limit: ptr(int64(7))}
		if err := g.Update(&r); err == nil {
			t.Errorf("%s: no error", name)
		}
		if after := limitsOf(g); !maps.Equal(before, after) {
			t.Errorf("%s: changed\n%v\nto\n%v", name, before, after)
		}
		if after := show(t, info, g.unit.name, "TasksMax"); after != tasks {
			t.Errorf("%s: TasksMax %s became %s", name, tasks, after)
		}
	}
}

// One process is all that a limit of one lets in, and it gets in.
func TestScopeOfOneProcess(t *testing.T) {
	info := systemdInfo(t)
	g := scope(t, info, scopePath(t), &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ptr(int64(1))}})
	run(t, g, "echo ready; exec sleep 1000")
	if err := g.Settled(); err != nil {
		t.Fatal(err)
	}
	if got := file(t, g, "pids", "pids.max"); got != "1" {
		t.Errorf("pids.max = %s", got)
	}
}

// systemd removes a scope with its last process; why that was killed must be
// known afterwards, and only of the container that it was in.
func TestScopeAfterExit(t *testing.T) {
	info := systemdInfo(t)
	if !info.Unified {
		t.Skip("v1 counts a kill in the group alone, and that is gone")
	}
	w, err := NewWatcher()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	limit := &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(16 << 20)), Swap: ptr(int64(16 << 20))}}
	told := make(chan string, 8)
	start := func(name, script string) (*Group, *exec.Cmd) {
		g := scope(t, info, testSlice()+":afterexit:"+name, limit)
		if _, err := w.Watch(g, func() { told <- name }); err != nil {
			t.Fatal(err)
		}
		cmd := run(t, g, script)
		if err := g.Settled(); err != nil {
			t.Fatal(err)
		}
		return g, cmd
	}
	bystander, other := start("bystander", "echo ready; exec sleep 1000")
	for range 2 { // the second must not be taken for the first
		g, _ := start("greedy", "echo ready; read go; exec tail /dev/zero")
		eventually(t, "systemd removes the scope", func() bool { return !exists(g.v2) })
		select {
		case name := <-told:
			if name != "greedy" {
				t.Errorf("told of %s", name)
			}
		case <-time.After(20 * time.Second):
			t.Error("nobody told of the kill")
		}
		if n := killsOf(t, g); n == 0 {
			t.Error("no kill in Stats")
		}
		if err := g.Remove(); err != nil {
			t.Error(err)
		}
	}
	_ = other.Process.Kill()
	eventually(t, "systemd removes the other scope", func() bool { return !exists(bystander.v2) })
	if n := killsOf(t, bystander); n != 0 {
		t.Errorf("%d kills in the bystander", n)
	}
	if n, err := bystander.OOMKills(); n != 0 || err != nil {
		t.Errorf("bystander's OOMKills = %d, %v", n, err)
	}
}

func killsOf(t *testing.T, g *Group) uint64 {
	t.Helper()
	if _, err := g.OOMKills(); err != nil {
		t.Fatal(err)
	}
	s, err := g.Stats()
	if err != nil {
		t.Fatal(err)
	}
	switch s := s.(type) {
	case *v1.Metrics:
		return s.MemoryOomControl.OomKill
	case *v2.Metrics:
		return s.MemoryEvents.OomKill
	}
	return 0
}

// A connection that broke is made again.
func TestScopeReconnects(t *testing.T) {
	info := systemdInfo(t)
	info.bus.conn.Close()
	g := scope(t, info, scopePath(t), nil)
	info.bus.conn.Close()
	if err := g.Update(&specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ptr(int64(9))}}); err != nil {
		t.Error(err)
	}
}
