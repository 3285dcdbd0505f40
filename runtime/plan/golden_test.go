// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"foundry/runtime/oci"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

var update = flag.Bool("update", false, "write the golden files; then read their diff")

// golden is one text in testdata: the plan of a spec, or of an exec in it.
type golden struct {
	name string // of the .plan file
	spec string // of the .json file; empty: name
	with func(*Facts)
	exec string // process object of an exec; empty: the plan is the init's
}

var goldens = []golden{
	{name: "ctr"},
	{name: "ctr-tty"},
	{name: "ctr-net-host"},
	{name: "ctr-privileged"},
	{name: "ctr-seccomp", with: seccomp},
	{name: "ctr-read-only-cwd"},
	{name: "ctr-with-ns"},
	{name: "ctr-v2", spec: "ctr", with: unified},
	{name: "ctr-no-pivot", spec: "ctr", with: func(f *Facts) { f.NoPivotRoot, f.NoNewKeyring = true, true }},
	{name: "nerdctl", with: both(seccomp, hooks)},
	{name: "nerdctl-v2", spec: "nerdctl", with: both(seccomp, hooks, unified)},
	{name: "nerdctl-it", with: both(seccomp, hooks)},
	{name: "nerdctl-read-only", with: both(seccomp, hooks)},
	{name: "nerdctl-cap-drop", with: both(seccomp, hooks)},
	{name: "nerdctl-user", with: both(seccomp, hooks)},
	{name: "nerdctl-device", with: both(seccomp, hooks)},
	{name: "nerdctl-sysctl", with: both(seccomp, hooks)},
	{name: "nerdctl-nnp", with: both(seccomp, hooks)},
	{name: "nerdctl-privileged", with: hooks},
	{name: "nerdctl-cgroup-host", with: both(seccomp, hooks)},
	{name: "nerdctl-cgroup-host-v2", spec: "nerdctl-cgroup-host", with: both(seccomp, hooks, unified)},
	{name: "nerdctl-volumes", with: both(seccomp, hooks)},
	{name: "nerdctl-userns", with: both(seccomp, hooks, mappedImage)},
	{name: "nerdctl-userns-v2", spec: "nerdctl-userns", with: both(seccomp, allHooks, unified)},
	{name: "nerdctl-userns-exec", spec: "nerdctl-userns", with: seccomp, exec: `{"cwd":"/","args":["ps"],"env":["PATH=/bin"]}`},
	{name: "cri-userns", with: both(listener, labels)},
	{name: "cri-userns-v2", spec: "cri-userns", with: unified},
	{name: "cri-userns-exec", spec: "cri-userns", exec: `{"cwd":"/","args":["ps"],"env":["PATH=/bin"],"apparmorProfile":"cri-containerd.apparmor.d"}`, with: both(labels, unified)},
	{name: "ctr-idmap"},
	{name: "ctr-mounts"},
	{name: "ctr-all-hooks", spec: "ctr-seccomp", with: both(seccomp, allHooks)},
	{name: "ctr-scheduling", with: seccomp},
	{name: "ctr-scheduling-exec", spec: "ctr-scheduling", exec: `{"cwd":"/","args":["ps"],"env":["PATH=/bin"],"noNewPrivileges":true}`},
	{name: "ctr-exec", spec: "ctr", exec: `{"cwd":"/","args":["ps"],"env":["PATH=/bin"],"noNewPrivileges":true}`},
	{name: "ctr-exec-v2", spec: "ctr", with: unified, exec: `{"cwd":"/","args":["ps"],"env":["PATH=/bin"],"noNewPrivileges":true}`},
	{name: "nerdctl-exec-it", spec: "nerdctl-volumes", with: seccomp,
		exec: `{"terminal":true,"consoleSize":{"height":24,"width":80},"user":{"uid":1000,"gid":1000},"cwd":"/tmp","args":["sh","-l"],"env":["PATH=/bin","TERM=xterm"]}`},
}

func unified(f *Facts) {
	f.Unified, f.UnifiedPath, f.Cgroups = true, "/sys/fs/cgroup/default/web", nil
}

func seccomp(f *Facts) {
	f.Seccomp, f.SeccompFlags = make([]byte, 7*8), 2
}

func hooks(f *Facts) { f.Hooks = true }

func allHooks(f *Facts) { f.Hooks, f.CreateContainerHooks, f.StartContainerHooks = true, true, true }

func listener(f *Facts) {
	seccomp(f)
	f.SeccompListener = true
}

func labels(f *Facts) { f.AppArmor = "attr/apparmor/exec" }

// mappedImage has the owners of no user namespace on its files.
func mappedImage(f *Facts) {
	f.RootfsMounts[0].Options = append(f.RootfsMounts[0].Options, "uidmap=0:100000:65536", "gidmap=0:100000:65536")
}

func both(with ...func(*Facts)) func(*Facts) {
	return func(f *Facts) {
		for _, w := range with {
			w(f)
		}
	}
}

// hybridFacts are a host with v1 hierarchies, one of them with two
// controllers, and an image of two layers.
func hybridFacts() Facts {
	const snapshots = "/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots"
	const bundle = "/run/containerd/io.containerd.runtime.v2.task/default/web"
	f := Facts{
		ID: "web", Bundle: bundle, Rootfs: bundle + "/rootfs", LastCap: 40, KCore: true,
		RootfsMounts: []Mount{{
			Type: "overlay", Source: "overlay",
			Options: []string{
				"index=off", "workdir=" + snapshots + "/9/work", "upperdir=" + snapshots + "/9/fs",
				"lowerdir=" + snapshots + "/2/fs:" + snapshots + "/1/fs",
			},
		}},
	}
	for _, name := range []string{"cpu,cpuacct", "memory", "pids", "systemd"} {
		f.Cgroups = append(f.Cgroups, CgroupFact{Name: name, Mountpoint: "/sys/fs/cgroup/" + name, Path: "/default/web"})
	}
	f.Cgroups[0].Controllers = []string{"cpu", "cpuacct"}
	f.Cgroups[3].Controllers = []string{"name=systemd"}
	return f
}

func readSpec(t testing.TB, name string) *specs.Spec {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	spec, err := oci.Parse(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return spec
}

func (g golden) plan(t testing.TB) *Plan {
	t.Helper()
	name := g.spec
	if name == "" {
		name = g.name
	}
	facts := hybridFacts()
	if g.with != nil {
		g.with(&facts)
	}
	spec := readSpec(t, name)
	if g.exec == "" {
		p, err := New(spec, facts)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	process, err := oci.ParseProcess([]byte(g.exec))
	if err != nil {
		t.Fatal(err)
	}
	p, err := NewExec(spec, process, facts)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestGoldens(t *testing.T) {
	for _, g := range goldens {
		t.Run(g.name, func(t *testing.T) {
			p := g.plan(t)
			checkEncodable(t, p)
			compareGolden(t, g.name, p.String())
		})
	}
	t.Run("helper", func(t *testing.T) {
		p := NewHelper(Helper{Path: "/usr/bin/nerdctl", Args: []string{"nerdctl", "logging"}, Env: []string{"A=b c"}, ExtraFiles: 3})
		checkEncodable(t, p)
		compareGolden(t, "helper", p.String())
	})
	t.Run("helper-start-container", func(t *testing.T) {
		p := startContainerHook(t)
		checkEncodable(t, p)
		compareGolden(t, "helper-start-container", p.String())
	})
}

// startContainerHook runs a program of the container as its user.
func startContainerHook(t *testing.T) *Plan {
	t.Helper()
	spec, facts := readSpec(t, "nerdctl-userns"), hybridFacts()
	listener(&facts)
	labels(&facts)
	facts.SeccompFlags = filterWaitKillable | 2
	spec.Process.ApparmorProfile = "nerdctl-default"
	spec.Process.User = specs.User{UID: 5, GID: 6}
	return NewHelper(Helper{Path: "/bin/hook", Dir: "/srv", Join: cloneUser | cloneMount | clonePID | cloneNet, As: spec.Process, Facts: facts})
}

func compareGolden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".plan")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs from the plan (go test -update, then read the diff):\n%s", path, got)
	}
}
