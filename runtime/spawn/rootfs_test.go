// SPDX-License-Identifier: Apache-2.0

package spawn

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"foundry/runtime/oci"
	"foundry/runtime/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

const busybox = "/bin/busybox"

// makeRootfs makes a root with a static busybox under its usual names.
func makeRootfs(t testing.TB) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "rootfs")
	for _, dir := range []string{"bin", "proc", "sys", "dev", "tmp", "etc", "run"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	program, err := os.ReadFile(busybox)
	if err != nil {
		t.Skipf("SKIPPED: needs a static busybox: %v", err)
	}
	if err := os.WriteFile(filepath.Join(root, "bin/busybox"), program, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"sh", "true", "sleep", "cat", "ls", "mount", "ps", "id", "stty", "kill", "grep", "tr", "cut", "readlink", "tty"} {
		if err := os.Symlink("busybox", filepath.Join(root, "bin", name)); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// container is a spec like ctr's, for a root in a directory of the test.
type container struct {
	spec  *specs.Spec
	facts plan.Facts
}

func newContainer(t testing.TB, args ...string) *container {
	t.Helper()
	text, err := os.ReadFile("../plan/testdata/ctr.json")
	if err != nil {
		t.Fatal(err)
	}
	spec, err := oci.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	root := makeRootfs(t)
	spec.Process.Args = args
	spec.Process.Env = []string{"PATH=/bin", "WHO=test"}
	spec.Process.Rlimits, spec.Process.OOMScoreAdj = nil, nil
	return &container{spec: spec, facts: plan.Facts{ID: "test", Bundle: filepath.Dir(root), Rootfs: root, LastCap: 40}}
}

func (c *container) plan(t testing.TB) *plan.Plan {
	t.Helper()
	p, err := plan.New(c.spec, c.facts)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (c *container) exec(t testing.TB, process specs.Process, args ...string) *plan.Plan {
	t.Helper()
	process.Args, process.Env, process.Cwd = args, []string{"PATH=/bin"}, "/"
	p, err := plan.NewExec(c.spec, &process, c.facts)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// output runs p to its end and returns what it has written.
func (w *world) output(p *plan.Plan, target *os.File) (string, Exit) {
	w.t.Helper()
	r, out, err := os.Pipe()
	if err != nil {
		w.t.Fatal(err)
	}
	defer r.Close()
	proc := w.spawn(p, filesOf(p, out, target)...)
	out.Close()
	w.run(proc)
	text, err := io.ReadAll(r)
	if err != nil {
		w.t.Fatal(err)
	}
	return strings.TrimSpace(string(text)), w.exit(proc)
}

// filesOf are the descriptors of p: output for both streams, target for execs.
func filesOf(p *plan.Plan, out, target *os.File) []*os.File {
	files := make([]*os.File, len(p.Files))
	for i, f := range p.Files {
		switch f.Kind {
		case plan.FileStdout, plan.FileStderr:
			files[i] = out
		case plan.FileTarget:
			files[i] = target
		}
	}
	return files
}

// enter starts p in the container of init.
func (w *world) enter(p *plan.Plan, init *Process) *Process {
	w.t.Helper()
	return w.spawn(p, filesOf(p, nil, init.Pidfd)...)
}

// begin lets go proc, which waits to be started.
func (w *world) begin(proc *Process) {
	w.t.Helper()
	if err := proc.Go(); err != nil {
		w.t.Fatal(err)
	}
	w.reach(proc, PointExec)
}

// run lets proc go on until its program runs.
func (w *world) run(proc *Process) {
	w.t.Helper()
	for {
		point, err := proc.Sync(w.context())
		if err != nil {
			w.t.Fatal(err)
		}
		if point == PointExec {
			return
		}
		if err := proc.Go(); err != nil {
			w.t.Fatal(err)
		}
	}
}

func itoa(n int) string { return strconv.Itoa(n) }

func ptrTo(b []byte) unsafe.Pointer { return unsafe.Pointer(&b[0]) }

// compile returns a static program made of C source.
func compile(t testing.TB, source string, args ...string) string {
	t.Helper()
	gcc, err := exec.LookPath("musl-gcc")
	if err != nil {
		t.Skip("SKIPPED: needs musl-gcc")
	}
	dir := t.TempDir()
	file, program := filepath.Join(dir, "program.c"), filepath.Join(dir, "program")
	if err := os.WriteFile(file, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	args = append([]string{"-O0"}, append(args, "-D_GNU_SOURCE", "-static", "-o", program)...)
	if source != "" {
		args = append(args, file)
	}
	if out, err := exec.Command(gcc, args...).CombinedOutput(); err != nil {
		t.Fatalf("compile: %v\n%s", err, out)
	}
	return program
}
