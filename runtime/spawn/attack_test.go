// SPDX-License-Identifier: Apache-2.0

package spawn

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"foundry/runtime/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// TestLinkIntoProc: a link of the image, or one that a neighbour put into a volume, leads no
// mount into /proc, where it would hide or fake what the kernel says, and none to the root.
func TestLinkIntoProc(t *testing.T) {
	w := newWorld(t, 16)
	for name, tt := range map[string]struct {
		to    string
		mount specs.Mount
	}{
		"a bind on all":     {"/proc", specs.Mount{Type: "bind", Source: t.TempDir(), Options: []string{"rbind"}}},
		"a bind on a part":  {"/proc/sys/kernel", specs.Mount{Type: "bind", Source: t.TempDir(), Options: []string{"rbind"}}},
		"a bind on a file":  {"../proc/uptime", specs.Mount{Type: "bind", Source: "/etc/hosts", Options: []string{"bind"}}},
		"the root":          {"/", specs.Mount{Type: "tmpfs", Source: "tmpfs"}},
		"a tmpfs on a part": {"/proc/sys", specs.Mount{Type: "tmpfs", Source: "tmpfs"}},
	} {
		t.Run(name, func(t *testing.T) {
			ct := newContainer(t, "true")
			link(t, tt.to, filepath.Join(ct.facts.Rootfs, "data"))
			tt.mount.Destination = "/data"
			ct.spec.Mounts = append(ct.spec.Mounts, tt.mount)
			p := w.spawn(ct.plan(t))
			want := "mount on /data: a link leads into /proc"
			if tt.to == "/" {
				want = "mount on /data: a link leads to the root"
			}
			if _, err := p.Sync(w.context()); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %s", err, want)
			}
			w.exit(p)
		})
	}
	ct := newContainer(t, "cat", "/proc/uptime") // what the spec itself names
	file := filepath.Join(t.TempDir(), "uptime")
	must(t, os.WriteFile(file, []byte("faked"), 0o644))
	ct.spec.Mounts = append(ct.spec.Mounts, specs.Mount{Destination: "/proc/uptime", Type: "bind", Source: file, Options: []string{"bind"}})
	if got, _ := w.output(ct.plan(t), nil); got != "faked" {
		t.Errorf("by name: got %q", got)
	}
}

// TestBoundDeviceIsTheOne: where mknod is forbidden the host's node is bound, which may be no such
// device, or no device at all.
func TestBoundDeviceIsTheOne(t *testing.T) {
	w := newWorld(t, 16)
	file, err := os.CreateTemp("/dev/shm", "")
	must(t, err)
	defer os.Remove(file.Name())
	must(t, file.Close())
	for _, path := range []string{file.Name(), "/dev/zero"} {
		ct := newContainer(t, "true")
		ids := []specs.LinuxIDMapping{{ContainerID: 0, HostID: firstID, Size: 65536}}
		ct.spec.Linux.Namespaces = append(ct.spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
		ct.spec.Linux.UIDMappings, ct.spec.Linux.GIDMappings = ids, ids
		ct.spec.Linux.Devices = []specs.LinuxDevice{{Path: path, Type: "c", Major: 1, Minor: 7}}
		p := w.spawn(ct.plan(t))
		if _, err := p.Sync(w.context()); err == nil || !strings.Contains(err.Error(), "the host's is another") {
			t.Errorf("%s: got %v", path, err)
		}
		w.exit(p)
	}
}

// TestInitSaysNothingOfTheHost: everybody may read the arguments of a process, and the pid 1 that
// stays is one of the spawner's.
func TestInitSaysNothingOfTheHost(t *testing.T) {
	w := newWorld(t, 16)
	ct := newContainer(t, "sh", "-c", "cat /proc/1/cmdline | tr '\\0' ' '")
	ct.spec.Annotations = map[string]string{"foundry.init": "true"}
	if got, _ := w.output(ct.plan(t), nil); got != "foundry-init" {
		t.Errorf("got %q", got)
	}
}

// TestListenerOfDeadServer: a process whose server died before it took the listener burns no CPU
// for ever. Its filter has nobody who would answer for an exit.
func TestListenerOfDeadServer(t *testing.T) {
	w := compiledWorld(t, "-DSPIN_CYCLES=(1ull<<28)")
	ct := newContainer(t, "true")
	ct.facts.Seccomp = notifyAll()
	p := w.spawn(ct.listening(t))
	w.reach(p, PointReady)
	must(t, p.Go())
	w.reach(p, PointListener)
	if e := w.exit(p); e.Signal != int(syscall.SIGILL) {
		t.Errorf("got %+v", e)
	}
}

// TestSourceIsNoFile: the error of a bind of a source names no file of the plan.
func TestSourceIsNoFile(t *testing.T) {
	steps := []plan.Step{{Op: plan.OpBind, Flags: plan.FlagSource, FD: 0}, {Op: plan.OpSetns, FD: 0}}
	p := &Process{plan: &plan.Plan{Steps: steps, Files: []plan.File{{Kind: plan.FileNamespace, Path: "/ns"}}}}
	for i, want := range []string{"it", "it /ns"} {
		if got := p.stageError(outcome{step: i, errno: 1, what: "it"}).What; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
