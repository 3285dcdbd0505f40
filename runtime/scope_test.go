// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"os"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"foundry/runtime/cgroup"
)

// scopesEnv has the tests of this package name their groups as systemd does;
// scripts/guest.sh sets it where systemd is process 1.
const scopesEnv = "FOUNDRY_TEST_SCOPES"

// groupCalled is the parent of a test's groups.
func groupCalled(unique string) string {
	if os.Getenv(scopesEnv) == "" {
		return "/" + unique
	}
	return "/" + strings.ReplaceAll(unique, "-", "_") + ".slice"
}

// cgroupsPath is what a container of a test has in its config.json.
func (p place) cgroupsPath(id string) string {
	if os.Getenv(scopesEnv) == "" {
		return p.group + "/" + id
	}
	return strings.TrimPrefix(p.group, "/") + ":foundry:" + id
}

// A container's program is born in its scope, execs join it, an update reaches
// it, and nothing is left of it.
func TestScope(t *testing.T) {
	if os.Getenv(scopesEnv) == "" {
		t.Skip("SKIPPED: needs systemd as process 1")
	}
	w := newWorld(t)
	spec := w.spec("web-1", "sleep", "60")
	spec.Linux.Namespaces = append(spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.CgroupNamespace})
	b := w.create("web-1", spec)
	if err := b.Start(ctx(t)); err != nil {
		t.Fatal(err)
	}
	want := w.group + "/foundry-web-1.scope"
	if got := b.group.Path(); got != want {
		t.Errorf("Path = %q, want %q", got, want)
	}
	if pids, err := b.Pids(); err != nil || len(pids) != 1 || pids[0] != b.Pid() {
		t.Errorf("Pids = %v, %v; want init %d alone", pids, err, b.Pid())
	}
	// In its own cgroup namespace the scope is the root: it was born there.
	if e, out := b.exec("cat", "/proc/1/cgroup", "/proc/self/cgroup"); e.Status != 0 || out != "0::/\n0::/\n" {
		t.Errorf("exit %+v, output %q", e, out)
	}
	before, err := b.Stats()
	if err != nil || before == nil {
		t.Errorf("Stats = %v, %v", before, err)
	}
	b.Kill(ctx(t), 9)
	if e := b.wait(); e.Status != 137 {
		t.Errorf("exit %+v", e)
	}
	if after, err := b.Stats(); err != nil || after == nil {
		t.Errorf("Stats after the exit = %v, %v", after, err)
	}
}

// Where systemd does not run, a path for it is refused and nothing left.
func TestScopeRefused(t *testing.T) {
	w := newWorld(t)
	if _, err := os.Stat("/run/systemd/system"); err == nil {
		t.Skip("systemd runs this host")
	}
	spec := w.spec("web-1", "true")
	spec.Linux.CgroupsPath = "system.slice:foundry:web-1"
	_, err := w.tryCreate("web-1", spec)
	if err == nil || !strings.Contains(err.Error(), cgroup.ErrNoSystemd.Error()) {
		t.Errorf("Create: %v, want %v", err, cgroup.ErrNoSystemd)
	}
}
