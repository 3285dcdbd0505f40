// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"errors"
	"os"
	"path"
	"strconv"
	"strings"
	"testing"
	"time"

	v1 "github.com/containerd/cgroups/v3/cgroup1/stats"
	v2 "github.com/containerd/cgroups/v3/cgroup2/stats"
	"github.com/opencontainers/runtime-spec/specs-go"
)

func TestLife(t *testing.T) {
	info := hostInfo(t)
	g := create(t, info, groupPath(t, info), &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(64 << 20))}})
	cmd := run(t, g, "echo ready; exec sleep 1000")
	if got := pidsOf(t, g); len(got) != 1 || got[0] != cmd.Process.Pid {
		t.Errorf("Pids = %v, want [%d]", got, cmd.Process.Pid)
	}
	member, err := os.ReadFile("/proc/" + itoa(cmd.Process.Pid) + "/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	for l := range strings.Lines(string(member)) {
		if !strings.HasSuffix(strings.TrimSpace(l), ":"+g.Path()) {
			t.Errorf("the process is in %q", l)
		}
	}
	stats, err := g.Stats()
	if err != nil {
		t.Fatal(err)
	}
	switch s := stats.(type) {
	case *v1.Metrics:
		if s.Pids.Current != 1 || s.Memory.Usage.Limit != 64<<20 {
			t.Errorf("stats = %v", s)
		}
	case *v2.Metrics:
		if s.Pids.Current != 1 || s.Memory.UsageLimit != 64<<20 {
			t.Errorf("stats = %v", s)
		}
	}
	if err := g.Kill(within(t, 10*time.Second)); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.String() != "signal: killed" {
		t.Errorf("the process ended with %v", err)
	}
	if _, err := g.Stats(); err != nil {
		t.Errorf("stats after the last process: %v", err)
	}
	for range 2 {
		if err := g.Remove(); err != nil {
			t.Error(err)
		}
	}
	if _, err := g.Stats(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("stats after Remove: %v", err)
	}
	for _, d := range g.all() {
		if exists(d) {
			t.Errorf("%s is left", d)
		}
	}
}

func itoa(n int) string { return strconv.Itoa(n) }

func TestCreateRefusesMembers(t *testing.T) {
	info := hostInfo(t)
	p := groupPath(t, info)
	g := create(t, info, p, nil)
	run(t, g, "echo ready; exec sleep 1000")
	_, err := Create(Config{Info: info, Path: p})
	var busy *NotEmptyError
	if !errors.As(err, &busy) || busy.Pids != 1 || !strings.Contains(err.Error(), p) {
		t.Errorf("Create over a group with a process: %v", err)
	}
	if len(pidsOf(t, g)) != 1 {
		t.Error("the refused Create changed the group")
	}
}

func TestCreateReplacesEmpty(t *testing.T) {
	info := hostInfo(t)
	p := groupPath(t, info)
	create(t, info, p, &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ptr(int64(7))}})
	g := create(t, info, p, nil)
	if got := file(t, g, "pids", "pids.max"); got != "max" {
		t.Errorf("pids.max = %q, left from the group before", got)
	}
}

func TestCreateUndoes(t *testing.T) {
	info := hostInfo(t)
	p := groupPath(t, info)
	for name, r := range map[string]*specs.LinuxResources{
		"refused before": {BlockIO: &specs.LinuxBlockIO{Weight: ptr(uint16(9))}},
		"refused by the kernel": {CPU: &specs.LinuxCPU{Cpus: "4000"}, Pids: &specs.LinuxPids{Limit: ptr(int64(1))},
			HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "3MB", Limit: 1}}},
	} {
		if _, err := Create(Config{Info: info, Path: p, Resources: r}); err == nil {
			t.Errorf("%s: no error", name)
		}
		for _, d := range newGroup(info, p).all() {
			if exists(d) || exists(path.Dir(d)) {
				t.Errorf("%s: %s is left", name, d)
			}
		}
	}
}

func file(t testing.TB, g *Group, controller, name string) string {
	t.Helper()
	text, err := readFile(g.dir(controller), name)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(text)
}
