// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/oci"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"foundry/integration/env"
)

// What only a host with nothing but cgroup v2 can show, and what only one that
// grants CAP_SYS_RESOURCE: `make test-guest` boots both.
func TestUnified(t *testing.T) {
	if !env.Unified() {
		t.Skip("needs a host with cgroup v2 alone")
	}
	d := env.Containerd(t, env.Config{})
	for _, s := range []story{
		{"OwnGroup", ownGroup},
		{"HostsCgroupNamespace", hostsCgroupNamespace},
		{"Limits", limits},
		{"PidsLimit", pidsLimit},
		{"DeviceRules", deviceRules},
		{"TinyMemory", tinyMemory},
		{"GroupOOM", groupOOM},
		{"Rights", rights},
		{"GroupInUse", groupInUse},
		{"NestedGroups", nestedGroups},
		{"ExecBesideNestedGroups", execBesideNestedGroups},
		{"FrozenByItself", frozenByItself},
		{"LeavesItsGroup", leavesItsGroup},
		{"DelegatedGroup", delegatedGroup},
	} {
		s.run(t, d)
	}
}

// change is a spec option from a function.
func change(f func(*specs.Spec)) oci.SpecOpts {
	return func(_ context.Context, _ oci.Client, _ *containers.Container, s *oci.Spec) error {
		f(s)
		return nil
	}
}

// withGroups mounts the container's groups, ro or rw, and has them begin at
// its own, as CRI and nerdctl do.
func withGroups(mode string) oci.SpecOpts {
	return oci.Compose(oci.WithLinuxNamespace(specs.LinuxNamespace{Type: specs.CgroupNamespace}),
		oci.WithMounts([]specs.Mount{{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup",
			Options: []string{"nosuid", "noexec", "nodev", "relatime", mode}}}))
}

func script(text string, opts ...oci.SpecOpts) env.ContainerConfig {
	return env.ContainerConfig{Args: []string{"/bin/sh", "-c", text}, Opts: opts}
}

// groupOf is where the host sees a process.
func groupOf(t *testing.T, pid uint32) string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// A container is born in its group, has it for the root of its cgroup
// namespace, and sees it mounted.
func ownGroup(t *testing.T, d *env.Daemon) {
	c := d.Container(t, script(`cat /proc/self/cgroup /sys/fs/cgroup/pids.max
		grep -c "^[^ ]* /sys/fs/cgroup cgroup2 ro,nosuid,nodev,noexec,relatime" /proc/mounts
		mkdir /sys/fs/cgroup/x 2>&1 | sed 's/.*: //'
		read end`, withGroups("ro"), oci.WithPidsLimit(77)))
	task := d.Create(t, c, neverEnding{})
	want := "0::/" + d.Namespace + "/" + task.ID()
	if got := groupOf(t, task.Pid()); got != want {
		t.Errorf("created in %q, want %q", got, want)
	}
	if err := task.Start(d.Context(t)); err != nil {
		t.Fatal(err)
	}
	if r := d.Exec(t, task, "/bin/cat", "/proc/self/cgroup"); r.Stdout != "0::/\n" {
		t.Errorf("an exec sees itself in %q", r.Stdout)
	}
	env.Eventually(t, "output", func() bool { return strings.Contains(task.Stdout.String(), "system") })
	if got, want := task.Stdout.String(), "0::/\n77\n1\nRead-only file system\n"; got != want {
		t.Errorf("in the container: got %q, want %q", got, want)
	}
}

func hostsCgroupNamespace(t *testing.T, d *env.Daemon) {
	c := d.Container(t, script("cat /proc/self/cgroup; ls -d /sys/fs/cgroup/"+d.Namespace, withGroups("ro"), oci.WithHostNamespace(specs.CgroupNamespace)))
	want := fmt.Sprintf("0::/%[1]s/%[2]s\n/sys/fs/cgroup/%[1]s\n", d.Namespace, c.ID())
	if r := d.Run(t, c); r.Stdout != want {
		t.Errorf("got %q %q, want %q", r.Stdout, r.Stderr, want)
	}
}

// Limits of both dialects, at create and by update.
func limits(t *testing.T, d *env.Daemon) {
	task := d.StartTask(t, d.Container(t, env.ContainerConfig{Args: []string{"/bin/sleep", "1000"}, Opts: []oci.SpecOpts{change(func(s *specs.Spec) {
		s.Linux.Resources.Memory = &specs.LinuxMemory{Limit: ptr(int64(64 << 20)), Reservation: ptr(int64(16 << 20))}
		s.Linux.Resources.CPU = &specs.LinuxCPU{Shares: ptr(uint64(1024)), Quota: ptr(int64(50_000)), Period: ptr(uint64(100_000))}
		s.Linux.Resources.Pids = &specs.LinuxPids{Limit: ptr(int64(50))}
		s.Linux.Resources.Unified = map[string]string{"memory.high": "50331648"}
	})}}))
	check := func(when string, want map[string]string) {
		for file, w := range want {
			if got := groupFile(t, d, task.ID(), file); got != w {
				t.Errorf("%s: %s: got %q, want %q", when, file, got, w)
			}
		}
	}
	check("created", map[string]string{"memory.max": "67108864", "memory.low": "16777216", "memory.high": "50331648",
		"cpu.weight": "100", "cpu.max": "50000 100000", "pids.max": "50"})
	if err := task.Update(d.Context(t), client.WithResources(&specs.LinuxResources{
		Memory:  &specs.LinuxMemory{Limit: ptr(int64(128 << 20))},
		CPU:     &specs.LinuxCPU{Quota: ptr(int64(-1))},
		Unified: map[string]string{"memory.high": "max", "cpu.weight": "321"},
	})); err != nil {
		t.Fatal(err)
	}
	check("updated", map[string]string{"memory.max": "134217728", "memory.low": "16777216", "memory.high": "max",
		"cpu.weight": "321", "cpu.max": "max 100000", "pids.max": "50"})
	// One value that the kernel refuses undoes the rest.
	err := task.Update(d.Context(t), client.WithResources(&specs.LinuxResources{
		Pids: &specs.LinuxPids{Limit: ptr(int64(60))}, Unified: map[string]string{"cpu.weight": "123456789"}}))
	if err == nil || !strings.Contains(err.Error(), "cpu.weight") {
		t.Errorf("got %v, want an error that names cpu.weight", err)
	}
	check("refused", map[string]string{"cpu.weight": "321", "pids.max": "50"})
}

func pidsLimit(t *testing.T, d *env.Daemon) {
	r := d.Run(t, d.Container(t, script("for i in 1 2 3 4 5 6; do sleep 100 & done", oci.WithPidsLimit(4))))
	if r.Code() == 0 || !strings.Contains(r.Stderr, "can't fork") {
		t.Errorf("got exit %d, %q, want a fork that fails", r.Code(), r.Stderr)
	}
}

// The device filter is exchanged by an update. A device of no driver tells
// what the filter says: EPERM or, past it, ENXIO.
func deviceRules(t *testing.T, d *env.Daemon) {
	task := d.StartTask(t, sleeper(t, d))
	d.Exec(t, task, "/bin/mknod", "/node", "c", "240", "77")
	opened := func() string {
		return d.Exec(t, task, "/bin/sh", "-c", ": </dev/null && : </node").Stderr
	}
	allow := specs.LinuxDeviceCgroup{Allow: true, Type: "c", Major: ptr(int64(240)), Minor: ptr(int64(77)), Access: "r"}
	deny := specs.LinuxDeviceCgroup{Allow: false, Access: "rwm"}
	for _, step := range []struct {
		rules []specs.LinuxDeviceCgroup
		want  string
	}{
		{nil, "Operation not permitted"},
		{[]specs.LinuxDeviceCgroup{deny, allow}, "No such device or address"},
		{[]specs.LinuxDeviceCgroup{deny}, "Operation not permitted"},
	} {
		if step.rules != nil {
			if err := task.Update(d.Context(t), client.WithResources(&specs.LinuxResources{Devices: step.rules})); err != nil {
				t.Fatal(err)
			}
		}
		if got := opened(); !strings.Contains(got, step.want) {
			t.Errorf("after %v: got %q, want %q", step.rules, got, step.want)
		}
	}
}

// What starts a container is not charged to it.
func tinyMemory(t *testing.T, d *env.Daemon) {
	c := d.Container(t, env.ContainerConfig{Args: []string{"/bin/true"}, Opts: []oci.SpecOpts{oci.WithMemoryLimit(1 << 20)}})
	for range 5 {
		if got := d.Run(t, c).Code(); got != 0 {
			t.Errorf("exit: got %d, want 0", got)
		}
	}
}

// With memory.oom.group all of a container go at once; an exec is one of them.
func groupOOM(t *testing.T, d *env.Daemon) {
	s := watch(t, d)
	c := d.Container(t, env.ContainerConfig{Args: []string{"/bin/sleep", "1000"}, Opts: []oci.SpecOpts{oci.WithMemoryLimit(16 << 20),
		change(func(s *specs.Spec) { s.Linux.Resources.Unified = map[string]string{"memory.oom.group": "1"} })}})
	task := d.StartTask(t, c)
	if got := d.Exec(t, task, "/bin/sh", "-c", "x=$(yes | head -c 100000000); echo ${#x}").Code(); got != 137 {
		t.Errorf("exec: got exit %d, want 137", got)
	}
	if got := d.Finish(t, task).Code(); got != 137 {
		t.Errorf("init: got exit %d, want 137", got)
	}
	words := s.until(t, task.ID(), "delete")
	for i, w := range words {
		words[i], _, _ = strings.Cut(w, " ")
	}
	if got := slices.Compact(words); !slices.Equal(got, []string{"create", "start", "exec-added", "exec-started", "oom", "exit", "delete"}) {
		t.Errorf("events: got %q", got)
	}
}

// What a host without CAP_SYS_RESOURCE refuses.
func rights(t *testing.T, d *env.Daemon) {
	show := "cat /proc/self/oom_score_adj; ulimit -Hn; ulimit -Sn; ulimit -Hu"
	c := d.Container(t, script(show+"; read end", change(func(s *specs.Spec) {
		s.Process.OOMScoreAdj = ptr(-500)
		s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Hard: 1 << 20, Soft: 1 << 19}, {Type: "RLIMIT_NPROC", Hard: 1 << 21, Soft: 1 << 21}}
	})))
	want := "-500\n1048576\n524288\n2097152\n"
	task := d.Create(t, c, neverEnding{})
	if err := task.Start(d.Context(t)); err != nil {
		t.Fatal(err)
	}
	env.Eventually(t, "output", func() bool { return len(task.Stdout.String()) >= len(want) })
	if got := task.Stdout.String(); got != want {
		t.Errorf("init: got %q, want %q", got, want)
	}
	if got := d.Exec(t, task, "/bin/sh", "-c", show).Stdout; got != want {
		t.Errorf("exec: got %q, want %q", got, want)
	}
	for _, s := range d.Servers() {
		if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/oom_score_adj", s.Spawner)); err != nil || strings.TrimSpace(string(b)) != "-1000" {
			t.Errorf("the spawner's score: got %q, %v, want -1000", b, err)
		}
	}
}

func groupInUse(t *testing.T, d *env.Daemon) {
	shared := oci.WithCgroup("/" + d.Namespace + "/shared")
	first := d.StartTask(t, d.Container(t, env.ContainerConfig{Args: []string{"/bin/sleep", "1000"}, Opts: []oci.SpecOpts{shared}}))
	second := d.Container(t, env.ContainerConfig{Opts: []oci.SpecOpts{shared}})
	_, err := second.NewTask(d.Context(t), nullIO)
	if err == nil || !strings.Contains(err.Error(), "is not empty") {
		t.Errorf("got %v, want an error that says that the group is not empty", err)
	}
	wantStatus(t, d, first, client.Running)
	d.Exec(t, first, "/bin/true")
}

// manages lets a container make groups of its own, as an init system does.
func manages(text string) env.ContainerConfig {
	return script("cd /sys/fs/cgroup; mkdir -p init sub/below; echo 0 >init/cgroup.procs; sleep 1000 & echo $! >sub/below/cgroup.procs; "+
		text+"; echo ready; exec sleep 1000", withGroups("rw"))
}

func startManager(t *testing.T, d *env.Daemon, text string) *env.Task {
	t.Helper()
	task := d.StartTask(t, d.Container(t, manages(text)))
	env.Eventually(t, "groups", func() bool { return strings.Contains(task.Stdout.String()+task.Stderr.String(), "\n") })
	if got := task.Stdout.String() + task.Stderr.String(); got != "ready\n" {
		t.Fatalf("make groups: %s", got)
	}
	return task
}

// Groups that the container made are counted, killed and removed with it.
func nestedGroups(t *testing.T, d *env.Daemon) {
	task := startManager(t, d, ":")
	pids, err := task.Pids(d.Context(t))
	if err != nil || len(pids) != 2 {
		t.Errorf("pids: got %v, %v, want 2", pids, err)
	}
	if err := task.Kill(d.Context(t), syscall.SIGKILL, client.WithKillAll); err != nil {
		t.Error(err)
	}
	d.Finish(t, task)
}

// A group that has given controllers to groups below it takes no process: an
// exec goes where init went.
func execBesideNestedGroups(t *testing.T, d *env.Daemon) {
	task := startManager(t, d, "echo +pids >cgroup.subtree_control")
	if r := d.Exec(t, task, "/bin/cat", "/proc/self/cgroup"); r.Stdout != "0::/init\n" {
		t.Errorf("the exec is in %q, %q, want init's group", r.Stdout, r.Stderr)
	}
}

// What the container froze itself ends nevertheless.
func frozenByItself(t *testing.T, d *env.Daemon) {
	task := startManager(t, d, "echo 1 >sub/cgroup.freeze")
	if err := task.Kill(d.Context(t), syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	d.Finish(t, task)
}

// A container that is let into the hosts' groups and leaves its own still ends.
func leavesItsGroup(t *testing.T, d *env.Daemon) {
	stray := "/sys/fs/cgroup/" + d.Namespace + "-stray"
	if err := os.Mkdir(stray, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		env.Eventually(t, "the stray group is empty", func() bool { return os.Remove(stray) == nil })
	})
	task := d.StartTask(t, d.Container(t, script("echo 0 >"+stray+"/cgroup.procs; cat /proc/self/cgroup; sleep 1000 & exec sleep 1000",
		withGroups("rw"), oci.WithHostNamespace(specs.CgroupNamespace))))
	env.Eventually(t, "move", func() bool { return task.Stdout.String() == "0::/"+d.Namespace+"-stray\n" })
	if err := task.Kill(d.Context(t), syscall.SIGKILL, client.WithKillAll); err != nil {
		t.Error(err)
	}
	if got := d.Finish(t, task).Code(); got != 137 {
		t.Errorf("exit: got %d, want 137", got)
	}
}
