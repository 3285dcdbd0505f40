// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"foundry/runtime/cgroup"
	"foundry/runtime/plan"
)

// patience is how long a test waits for what should come at once.
const patience = 20 * time.Second

func requireRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: needs root")
	}
}

// image is a root file system of busybox, shared by all containers of a test.
func image(t testing.TB) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "image")
	for _, d := range []string{"bin", "proc", "sys", "dev", "run", "tmp", "etc"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "bin/busybox"), data, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"sh", "sleep", "true", "false", "cat", "echo", "ps", "kill", "stty", "hostname", "id", "ls", "mount", "dd", "pwd", "env", "mkdir", "rmdir", "readlink", "grep", "stat", "touch", "umount"} {
		if err := os.Symlink("busybox", filepath.Join(root, "bin", name)); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// ctrSpec is what ctr generates for a container.
func ctrSpec(t testing.TB) *specs.Spec {
	t.Helper()
	data, err := os.ReadFile("testdata/ctr.json")
	if err != nil {
		t.Fatal(err)
	}
	spec := &specs.Spec{}
	if err := json.Unmarshal(data, spec); err != nil {
		t.Fatal(err)
	}
	spec.Process.Env = []string{"PATH=/bin"}
	return spec
}

// world is a runtime under test and where it keeps its things.
type world struct {
	*Runtime
	t     testing.TB
	image string
	ooms  chan string // ids
	place
}

// place is where the containers of a test are.
type place struct {
	dir   string // temporary, and mounts of the containers are below it
	root  string // instance directory
	group string // parent of the containers' cgroups
}

// newPlace makes a place that no other test has, and has it cleared away.
func newPlace(t testing.TB) place {
	t.Helper()
	dir := t.TempDir()
	unique := fmt.Sprintf("foundry-test-%d-%s", os.Getpid(), filepath.Base(filepath.Dir(dir)))
	p := place{dir: dir, root: filepath.Join(dir, unique), group: groupCalled(unique)}
	if err := os.Mkdir(p.root, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if left := p.traces(t); left != nil {
			t.Errorf("left behind: %v", left)
		}
		p.dropGroups(t)
	})
	return p
}

// box is a container under test.
type box struct {
	*Container
	t      testing.TB
	id     string
	bundle string
	exits  chan Exit
	out    *sink
}

// bundle writes a bundle for a container that runs args.
func (w *world) bundle(id string, spec *specs.Spec) string {
	w.t.Helper()
	dir := filepath.Join(w.dir, "bundles", id)
	if err := os.MkdirAll(filepath.Join(dir, "rootfs"), 0o755); err != nil {
		w.t.Fatal(err)
	}
	data, err := json.Marshal(spec)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), data, 0o644); err != nil {
		w.t.Fatal(err)
	}
	return dir
}

// spec is ctr's, to run args in a container called id.
func (w *world) spec(id string, args ...string) *specs.Spec {
	spec := ctrSpec(w.t)
	spec.Process.Args = args
	spec.Linux.CgroupsPath = w.cgroupsPath(id)
	return spec
}

// rootfs are the mounts of a Create request.
func (w *world) rootfs() []plan.Mount {
	return []plan.Mount{{Type: "bind", Source: w.image, Options: []string{"rbind", "rw"}}}
}

// tryCreate creates a container from spec and deletes it with the test.
func (w *world) tryCreate(id string, spec *specs.Spec) (*box, error) {
	w.t.Helper()
	return w.tryCreateWith(id, spec, Options{})
}

func (w *world) tryCreateWith(id string, spec *specs.Spec, opts Options) (*box, error) {
	w.t.Helper()
	b := &box{t: w.t, id: id, bundle: w.bundle(id, spec), exits: make(chan Exit, 1), out: newSink(w.t)}
	cfg := CreateConfig{
		Namespace: "test", ID: id, Bundle: b.bundle, Rootfs: w.rootfs(), Options: opts, OnExit: func(e Exit) { b.exits <- e },
	}
	if !spec.Process.Terminal {
		cfg.Stdio = Stdio{Stdout: b.out.w, Stderr: b.out.w}
	}
	c, err := w.Create(ctx(w.t), cfg)
	b.out.started()
	if err != nil {
		return nil, err
	}
	b.Container = c
	w.t.Cleanup(func() {
		if err := c.Delete(context.Background()); err != nil {
			w.t.Error(err)
		}
	})
	return b, nil
}

func (w *world) create(id string, spec *specs.Spec) *box {
	w.t.Helper()
	b, err := w.tryCreate(id, spec)
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}

func (w *world) start(id string, args ...string) *box {
	w.t.Helper()
	b := w.create(id, w.spec(id, args...))
	if err := b.Start(ctx(w.t)); err != nil {
		w.t.Fatal(err)
	}
	return b
}

// wait returns the exit, stored.
func (b *box) wait() Exit {
	b.t.Helper()
	return await(b.t, b.exits)
}

func await(t testing.TB, exits chan Exit) Exit {
	t.Helper()
	select {
	case e := <-exits:
		if err := e.Ack(); err != nil {
			t.Error(err)
		}
		return e
	case <-time.After(patience):
		t.Error("no exit")
	}
	return Exit{}
}

// exec runs args in the container to its end.
func (b *box) exec(args ...string) (Exit, string) {
	b.t.Helper()
	out := newSink(b.t)
	exits := make(chan Exit, 1)
	p, err := b.Exec(ctx(b.t), ExecConfig{
		ID: "exec", Process: process(args...), Stdio: Stdio{Stdout: out.w, Stderr: out.w}, OnExit: func(e Exit) { exits <- e },
	})
	out.started()
	if err != nil {
		b.t.Fatal(err)
	}
	defer p.Close()
	e := await(b.t, exits)
	defer out.r.Close()
	return e, out.text()
}

func process(args ...string) *specs.Process {
	return &specs.Process{Args: args, Cwd: "/", Env: []string{"PATH=/bin"}}
}

// ctx ends a moment before the test's patience does.
func ctx(t testing.TB) context.Context {
	c, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return c
}

// sink collects what is written to w, which a container gets.
type sink struct {
	r, w *os.File
	done chan struct{}
	mu   sync.Mutex // guards buf
	buf  strings.Builder
}

func newSink(t testing.TB) *sink {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s := &sink{r: r, w: w, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		io.Copy(s, r)
	}()
	t.Cleanup(func() { w.Close(); r.Close() })
	return s
}

func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

// started gives up the child's end: from now on the end of the output is seen.
func (s *sink) started() { s.w.Close() }

// text is all of the output, once every writer is gone.
func (s *sink) text() string {
	select {
	case <-s.done:
	case <-time.After(patience):
	}
	return s.soFar()
}

func (s *sink) soFar() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

// eventually polls: for what has no other sign.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("never came: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// traces lists what is left on the host of the containers of a place.
func (p place) traces(t testing.TB) []string {
	t.Helper()
	host, err := cgroup.Host()
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	g, err := cgroup.Open(host, p.group)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range append(g.Dirs(), host.Hybrid+p.group) {
		entries, err := os.ReadDir(d)
		if err != nil {
			continue
		}
		for _, e := range entries {
			if e.IsDir() {
				left = append(left, "cgroup "+filepath.Join(d, e.Name()))
			}
		}
	}
	points, err := mountsBelow(p.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range points {
		left = append(left, "mount "+m)
	}
	journals, err := filepath.Glob(filepath.Join(p.root, "c", "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range journals {
		left = append(left, "journal "+j)
	}
	return append(append(left, processesOf(p.group)...), processesOf("/foundry"+p.group)...)
}

// processesOf finds processes by the cgroup that they are in.
func processesOf(group string) []string {
	files, _ := filepath.Glob("/proc/[0-9]*/cgroup")
	var found []string
	for _, f := range files {
		data, err := os.ReadFile(f)
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(f)))
		if err == nil && strings.Contains(string(data), ":"+group+"/") && alive(pid) {
			found = append(found, fmt.Sprint("process ", pid))
		}
	}
	return found
}

// dropGroups removes the cgroups that were the parents of a test's.
func (p place) dropGroups(t testing.TB) {
	t.Helper()
	host, err := cgroup.Host()
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{p.group, "/foundry" + p.group} {
		g, err := cgroup.Open(host, path)
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Remove(); err != nil {
			t.Error(err)
		}
	}
}

// openFiles lists the descriptors of this process by what they refer to.
func openFiles() []string {
	entries, _ := os.ReadDir("/proc/self/fd")
	var out []string
	for _, e := range entries {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
			out = append(out, to)
		}
	}
	slices.Sort(out)
	return out
}

// alive is false for a zombie too: who adopts orphans may take its time.
func alive(pid int) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(data), ") Z ")
}
