// SPDX-License-Identifier: Apache-2.0

// Package foundry_test holds the tests of the whole tree: who imports whom
// and what code may look like.
package foundry_test

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "foundry/"

// launcher is what containerd executes twice for each container.
const launcher = "cmd/containerd-shim-foundry-v1"

// laws say what each package may import of this tree (ARCHITECTURE.md has
// the same list); "x/..." is x and all below it. What is not here may import
// nothing of it.
var laws = map[string][]string{
	"cmd/foundryd":       {"shim/...", "runtime/...", "datapath/..."},
	"cmd/foundry-delete": {"runtime"},
	"cmd/foundry":        {"shim/view", "datapath/agent/api"},
	"cmd/foundry-cni":    {"datapath"},
	"shim":               {"shim/stdio", "shim/view", "shim/flight", "shim/metric", "shim/trace", "runtime", "datapath"},
	"shim/flight":        {"shim/view"},
	"runtime": {"runtime/oci", "runtime/plan", "runtime/spawn", "runtime/cgroup", "runtime/rootfs", "runtime/seccomp",
		"runtime/journal"},
	"runtime/plan":   {"runtime/oci"},
	"runtime/spawn":  {"runtime/plan"},
	"datapath":       {"datapath/veth", "datapath/nft", "datapath/store", "bpf"},
	"datapath/agent": {"datapath", "datapath/agent/api"},
	// Of integration, only what holds the data plane against real frames.
	"integration/net":            {"datapath", "datapath/..."},
	"integration/bench/netbench": {"datapath", "datapath/...", "bpf"},
}

// exceptions to the laws, with the reason. One that is no longer needed fails
// the test, so the list only shrinks by itself and grows in a review.
var exceptions = map[[2]string]string{
	{"shim", "runtime/plan"}: "the mounts of a Create request are []plan.Mount in runtime.CreateConfig",
}

// pure are the files that decide: what they say must not depend on the
// machine that they run on, and their tests must run on any.
var pure = []string{"runtime/oci/", "runtime/plan/", "shim/state.go", "shim/effect.go"}

// impure are the ways to the machine. oci reads the file that it parses, so
// os is not among them.
var impure = []string{"golang.org/x/sys/unix", "syscall", "os/exec", "net"}

// threadOnly is where code may change the state of its thread; a thread that
// cannot be restored is thrown away there. Anywhere else the Go runtime would
// run other goroutines in somebody's namespace.
const threadOnly = "datapath/veth/"

// light are the only packages that the launcher is linked with. Most of the
// time of a process that lives for milliseconds is the initialisation of
// packages: fmt, net or encoding/json would double it.
var light = []string{"cmp", "errors", "iter", "math/bits", "runtime", "slices", "sync", "sync/atomic", "syscall", "unsafe",
	"google.golang.org/protobuf/encoding/protowire"}

// deleter is what the launcher becomes for a container whose server is dead:
// for every one of them at once.
const deleter = "cmd/foundry-delete"

// foreign are the only trees that it is linked with, but Go's and ours.
var foreign = []string{"github.com/cilium/ebpf/...", "github.com/containerd/cgroups/v3/...", "github.com/godbus/dbus/v5/...",
	"github.com/coreos/go-systemd/v22/dbus", "github.com/opencontainers/runtime-spec/...", "github.com/checkpoint-restore/go-criu/v8/rpc",
	"github.com/aperturerobotics/protobuf-go-lite/...", "google.golang.org/protobuf/...", "golang.org/x/sys/unix"}

// pkg is a package as `go list -json` prints it.
type pkg struct {
	ImportPath                         string
	Imports, TestImports, XTestImports []string
}

func (p *pkg) name() string { return strings.TrimPrefix(p.ImportPath, module) }

// packages lists the packages of the tree.
func packages(t *testing.T) []pkg {
	t.Helper()
	out := goList(t, "-json=ImportPath,Imports,TestImports,XTestImports", "./...")
	var list []pkg
	for d := json.NewDecoder(strings.NewReader(out)); d.More(); {
		var p pkg
		if err := d.Decode(&p); err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
	return list
}

func goList(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("go", append([]string{"list"}, args...)...).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		t.Fatalf("go list: %v\n%s", err, exit.Stderr)
	} else if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestImports(t *testing.T) {
	used := map[[2]string]bool{}
	for _, p := range packages(t) {
		for _, imported := range inTree(p.Imports) {
			edge := [2]string{p.name(), imported}
			if exceptions[edge] != "" {
				used[edge] = true
			} else if !lawful(p.name(), imported) {
				t.Errorf("%s imports %s: the law allows it %q", p.name(), imported, laws[p.name()])
			}
		}
		for _, imported := range inTree(append(p.TestImports, p.XTestImports...)) {
			if imported != p.name() && imported != "integration/env" && !reaches(p.name(), imported) {
				t.Errorf("tests of %s import %s: they may import what the package reaches, and integration/env", p.name(), imported)
			}
		}
	}
	for edge, reason := range exceptions {
		if !used[edge] {
			t.Errorf("%s no longer imports %s (%s): remove the exception", edge[0], edge[1], reason)
		}
	}
}

// The laws themselves, at their edges.
func TestLaws(t *testing.T) {
	for _, c := range []struct {
		from, to string
		want     bool
	}{
		{"cmd/foundryd", "runtime/spawn", true},
		{"cmd/foundryd", "integration/env", false},
		{launcher, "shim", false},
		{"shim", "shim/stdio", true},
		{"shim", "runtime/spawn", false},
		{"runtime", "datapath", false},
		{"runtime/cgroup", "runtime/journal", false},
		{"integration/bench/shimbench", "integration/bench", true},
		{"integration/bench/netbench", "datapath/veth", true},
		{"integration", "runtime", false},
		{"integration/net", "datapath/veth", true},
	} {
		if got := lawful(c.from, c.to); got != c.want {
			t.Errorf("%s -> %s: got %v, want %v", c.from, c.to, got, c.want)
		}
	}
	if !reaches("shim", "runtime/journal") || reaches("runtime/plan", "runtime/spawn") {
		t.Error("what tests may import is not what their package reaches")
	}
}

func inTree(imports []string) (names []string) {
	for _, i := range imports {
		if name, ok := strings.CutPrefix(i, module); ok {
			names = append(names, name)
		}
	}
	return names
}

// lawful: nobody but integration itself may import integration.
func lawful(from, to string) bool {
	if within(from, "integration/...") && within(to, "integration/...") {
		return true
	}
	return slices.ContainsFunc(laws[from], func(allowed string) bool { return within(to, allowed) })
}

func within(name, pattern string) bool {
	tree, ok := strings.CutSuffix(pattern, "/...")
	return name == tree || ok && strings.HasPrefix(name, tree+"/")
}

// reaches: from may import to, or a package that reaches it.
func reaches(from, to string) bool {
	if lawful(from, to) || exceptions[[2]string{from, to}] != "" {
		return true
	}
	return slices.ContainsFunc(laws[from], func(next string) bool {
		return !strings.HasSuffix(next, "/...") && reaches(next, to)
	})
}

func TestLauncherIsLight(t *testing.T) {
	for _, dep := range strings.Fields(goList(t, "-deps", "./"+launcher)) {
		switch {
		case dep == module+launcher, strings.HasPrefix(dep, "internal/"), strings.HasPrefix(dep, "runtime/"):
		case !slices.Contains(light, dep):
			t.Errorf("the launcher is linked with %s: measure `foundry start` before you add it to the list", dep)
		}
	}
}

// TestDeleterIsLight: of what a server needs, foundry-delete is linked with the
// runtime, and with none of what it speaks to others.
func TestDeleterIsLight(t *testing.T) {
	for _, dep := range strings.Fields(goList(t, "-deps", "./"+deleter)) {
		first, _, _ := strings.Cut(dep, "/")
		known := strings.HasPrefix(dep, module+"runtime") || dep == module+deleter ||
			!strings.Contains(first, ".") && first+"/" != module && dep != "net/http" && dep != "crypto/tls"
		if !known && !slices.ContainsFunc(foreign, func(tree string) bool { return within(dep, tree) }) {
			t.Errorf("%s is linked with %s: measure how long it needs to come up before you add it to the list", deleter, dep)
		}
	}
}

// source is a parsed file of the tree.
type source struct {
	path string
	set  *token.FileSet
	file *ast.File
}

// sources parses all Go files.
func sources(t *testing.T) []source {
	t.Helper()
	var list []source
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		hidden := len(path) > 1 && strings.HasPrefix(d.Name(), ".")
		if d.IsDir() && (hidden || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if d.IsDir() || hidden || filepath.Ext(path) != ".go" {
			return nil
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		list = append(list, source{path: filepath.ToSlash(path), set: set, file: file})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func (s source) test() bool { return strings.HasSuffix(s.path, "_test.go") }

func TestPureFilesKnowNoKernel(t *testing.T) {
	found := map[string]bool{}
	for _, s := range sources(t) {
		i := slices.IndexFunc(pure, func(p string) bool { return strings.HasPrefix(s.path, p) })
		if i < 0 || s.test() {
			continue
		}
		found[pure[i]] = true
		for _, spec := range s.file.Imports {
			if path, err := strconv.Unquote(spec.Path.Value); err != nil || slices.Contains(impure, path) {
				t.Errorf("%s: imports %s: it decides; what touches the machine is done by who calls it", s.path, path)
			}
		}
	}
	for _, p := range pure {
		if !found[p] {
			t.Errorf("%s is gone: name here what took its place", p)
		}
	}
}

func TestThreadStateInOnePlace(t *testing.T) {
	banned := []string{"unix.Setns", "unix.Unshare", "syscall.Unshare", "unix.SYS_SETNS", "unix.SYS_UNSHARE",
		"syscall.SYS_UNSHARE", "syscall.SYS_SETNS", "runtime.LockOSThread"}
	for _, s := range sources(t) {
		if strings.HasPrefix(s.path, threadOnly) {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			x, ok := sel.X.(*ast.Ident)
			name := ""
			if ok {
				name = x.Name + "." + sel.Sel.Name
			}
			// A test that binds itself to a thread harms nobody else.
			if slices.Contains(banned, name) && (!s.test() || name != "runtime.LockOSThread") {
				t.Errorf("%s: %s: thread state is changed in %s only", s.set.Position(n.Pos()), name, threadOnly)
			}
			return true
		})
	}
}

// TestDevicesInOnePlace: who makes devices elsewhere does it in another
// thread's namespace sooner or later.
func TestDevicesInOnePlace(t *testing.T) {
	for _, s := range sources(t) {
		if strings.HasPrefix(s.path, threadOnly) {
			continue
		}
		for _, spec := range s.file.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			if err != nil || strings.HasPrefix(path, "github.com/vishvananda/") || path == "github.com/safchain/ethtool" {
				t.Errorf("%s: imports %s: devices are made and read in %s only", s.path, path, threadOnly)
			}
		}
	}
}
