// SPDX-License-Identifier: Apache-2.0

package matrix

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/oci"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"foundry/integration/env"
)

// hall is what all rows share: directories, sources of mounts, namespaces to
// join, and the two runtimes.
type hall struct {
	dir     string
	name    string // of the cgroups of this test
	runc    string // program
	foundry *foundry
	holder  int               // process that owns namespaces to be joined
	score   int               // the test's own for the OOM killer
	ns      map[string]string // whose a namespace is
}

// run is one row in the hands of one runtime.
type run struct {
	*hall
	runtime string
	id      string
	dir     string // bundle
	rootfs  string
	row     row
	masked  []string // what containerd would hide
	owner   int      // of the root
}

// result is what came of it.
type result struct {
	lines  []string
	failed string // why it never ran, "" when it did
}

const busybox = "/bin/busybox"

func newHall(t *testing.T) *hall {
	t.Helper()
	env.RequireRoot(t)
	runc, err := exec.LookPath("runc")
	if path := os.Getenv("FOUNDRY_MATRIX_RUNC"); path != "" {
		runc, err = path, nil
	}
	if err != nil {
		t.Skipf("needs runc: %v", err)
	}
	dir, err := os.MkdirTemp("", "fm")
	must(t, err)
	must(t, os.Chmod(dir, 0o755)) // root of a user namespace goes through it
	h := &hall{dir: dir, name: "fm" + strings.ToLower(rand.Text()[:8]), runc: runc, ns: map[string]string{}}
	t.Cleanup(func() { h.remove(t) })
	program, err := os.ReadFile(busybox)
	if err != nil {
		t.Skipf("needs a static busybox: %v", err)
	}
	must(t, os.WriteFile(h.busybox(), program, 0o755))
	score, err := os.ReadFile("/proc/self/oom_score_adj")
	must(t, err)
	h.score, err = strconv.Atoi(strings.TrimSpace(string(score)))
	must(t, err)
	h.sources(t)
	h.hold(t)
	h.foundry = startFoundry(t, h)
	return h
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// src is a path below the sources of mounts.
func (h *hall) src(path string) string { return filepath.Join(h.dir, "src", path) }

// sources makes what rows bind: a tree of mounts with attributes of their own,
// files, links. It is shared by all rows, which may not write to it.
func (h *hall) sources(t *testing.T) {
	t.Helper()
	mount := func(path string, flags uintptr, data string) {
		t.Helper()
		must(t, os.MkdirAll(path, 0o755))
		must(t, syscall.Mount("tmpfs", path, "tmpfs", flags, data))
	}
	root := filepath.Join(h.dir, "src")
	mount(root, syscall.MS_NODEV|syscall.MS_NOATIME, "mode=755")
	must(t, syscall.Mount("", root, "", syscall.MS_PRIVATE, ""))
	for _, d := range []string{"plain", "tree", "tree/sub", "shared", "owned", "scratch"} {
		must(t, os.MkdirAll(h.src(d), 0o755))
	}
	mount(h.src("tree"), syscall.MS_NOSUID, "mode=751,size=64k")
	mount(h.src("tree/sub"), syscall.MS_NOEXEC|syscall.MS_NODEV, "size=64k")
	mount(h.src("tree/sub/ro"), syscall.MS_RDONLY, "size=64k")
	mount(h.src("shared"), 0, "size=64k")
	must(t, syscall.Mount("", h.src("shared"), "", syscall.MS_SHARED, ""))
	for path, content := range map[string]string{"file": "a file\n", "plain/in": "x", "tree/in": "y", "tree/sub/in": "z", "owned/by": "me"} {
		must(t, os.WriteFile(h.src(path), []byte(content), 0o644))
	}
	must(t, os.Chown(h.src("owned/by"), 1000, 1001))
	must(t, os.Symlink("plain", h.src("link")))
}

// hold starts a process with namespaces of its own.
func (h *hall) hold(t *testing.T) {
	t.Helper()
	for _, name := range namespaceNames {
		own, err := os.Readlink("/proc/self/ns/" + name)
		must(t, err)
		h.ns[own] = "host"
	}
	cmd := exec.Command(busybox, "sleep", "100000")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL,
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS | syscall.CLONE_NEWPID}
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	h.holder = cmd.Process.Pid
	for _, name := range []string{"net", "ipc", "uts", "pid"} {
		link, err := os.Readlink(h.heldNS(name))
		must(t, err)
		h.ns[link] = "joined"
	}
}

var namespaceNames = []string{"cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"}

func (h *hall) heldNS(name string) string { return fmt.Sprintf("/proc/%d/ns/%s", h.holder, name) }

// newRun makes the bundle of a row.
func (h *hall) newRun(runtime string, r row) (*run, error) {
	x := &run{hall: h, runtime: runtime, id: r.name, row: r, dir: filepath.Join(h.dir, runtime+"."+r.name)}
	x.rootfs = filepath.Join(x.dir, "rootfs")
	if err := x.makeRootfs(); err != nil {
		return nil, err
	}
	ctx := namespaces.WithNamespace(context.Background(), h.name)
	spec, err := oci.GenerateSpec(ctx, nil, &containers.Container{ID: x.id}, oci.WithDefaultUnixDevices)
	if err != nil {
		return nil, fmt.Errorf("make spec: %w", err)
	}
	spec.Root = &specs.Root{Path: "rootfs"}
	spec.Process.Args = []string{"sh", "/probe"}
	spec.Process.Env = []string{"PATH=/bin"}
	spec.Process.Rlimits, spec.Process.OOMScoreAdj = nil, &x.score // not every host may raise them
	x.masked, spec.Linux.MaskedPaths = spec.Linux.MaskedPaths, nil // known to differ: a feature of some rows
	spec.Linux.CgroupsPath = "/" + h.name + "/" + runtime + "." + r.name
	for _, edit := range r.edits {
		if err := edit(spec, x); err != nil {
			return nil, fmt.Errorf("edit spec: %w", err)
		}
	}
	if err := x.chownRoot(x.owner); err != nil {
		return nil, fmt.Errorf("chown root: %w", err)
	}
	if r.exec != nil {
		if err := x.writeExec(spec); err != nil {
			return nil, fmt.Errorf("write process: %w", err)
		}
	}
	b, err := json.MarshalIndent(spec, "", "\t")
	if err != nil {
		return nil, err
	}
	return x, os.WriteFile(filepath.Join(x.dir, "config.json"), b, 0o600)
}

func (x *run) makeRootfs() error {
	for _, dir := range []string{"bin", "dev", "etc", "m", "proc", "sys", "tmp", "hidden", "run"} {
		if err := os.MkdirAll(filepath.Join(x.rootfs, dir), 0o755); err != nil {
			return err
		}
	}
	if err := os.Link(x.hall.busybox(), filepath.Join(x.rootfs, "bin/busybox")); err != nil {
		return err
	}
	for _, name := range applets {
		if err := os.Symlink("busybox", filepath.Join(x.rootfs, "bin", name)); err != nil {
			return err
		}
	}
	const passwd = "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n"
	for name, content := range map[string]string{"probe": probe, "secret": "s", "public": "p", "hidden/x": "h", "etc/passwd": passwd} {
		if err := os.WriteFile(filepath.Join(x.rootfs, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// busybox is a copy on the file system of the roots, to be linked.
func (h *hall) busybox() string { return filepath.Join(h.dir, "busybox") }

// normaliser knows what of this run is in the probe's output.
func (x *run) normaliser() normaliser {
	here := regexp.QuoteMeta(x.runtime + "." + x.row.name)
	return normaliser{ns: x.ns, keyring: "_ses." + x.id, replace: []replacement{
		{regexp.MustCompile(`/` + x.name + `/` + here), "/GROUP"},
		{regexp.MustCompile(`(/[^ /]+)*/` + here + `\b`), "/BUNDLE"},
		{regexp.MustCompile(`(/[^ /]+)*/` + filepath.Base(x.hall.dir) + `\b`), "/HALL"},
	}}
}

// remove takes everything away; what is left of containers is reported.
func (h *hall) remove(t *testing.T) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	must(t, err)
	var mounts []string
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], h.dir+"/") {
			mounts = append(mounts, f[4])
		}
	}
	for i := len(mounts) - 1; i >= 0; i-- {
		if !strings.HasPrefix(mounts[i], h.dir+"/src") {
			t.Errorf("left behind: mount %s", mounts[i])
		}
		if err := syscall.Unmount(mounts[i], syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", mounts[i], err)
		}
	}
	h.removeCgroups(t)
	if err := os.RemoveAll(h.dir); err != nil {
		t.Errorf("remove %s: %v", h.dir, err)
	}
}

// removeCgroups removes the parents of all groups, and what is left in them.
func (h *hall) removeCgroups(t *testing.T) {
	for _, parent := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} {
		left, _ := filepath.Glob(parent + h.name + "/*/")
		for _, dir := range left {
			t.Errorf("left behind: cgroup %s", dir)
			_ = os.Remove(dir)
		}
		tops, _ := filepath.Glob(parent + h.name)
		for _, dir := range tops {
			if err := removeSoon(dir); err != nil {
				t.Errorf("remove cgroup: %v", err)
			}
		}
	}
}

// removeSoon removes a cgroup whose last process may still be on its way out.
func removeSoon(dir string) error {
	deadline := time.Now().Add(10 * time.Second * env.Slowness())
	for {
		err := os.Remove(dir)
		if err == nil || errors.Is(err, os.ErrNotExist) || time.Now().After(deadline) {
			return err
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// chownRoot gives the image to a user; but busybox, which all share.
func (x *run) chownRoot(uid int) error {
	if uid == 0 {
		return nil
	}
	return filepath.WalkDir(x.rootfs, func(path string, _ os.DirEntry, err error) error {
		if err != nil || filepath.Base(path) == "busybox" {
			return err
		}
		return os.Lchown(path, uid, uid)
	})
}
