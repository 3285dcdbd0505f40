// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"foundry/shim/view"
)

// fake is an instance that answers with made-up documents.
func fake(t *testing.T, root, name string, documents map[string]any) {
	t.Helper()
	dir := filepath.Join(root, name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "server"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(dir, view.Socket))
	if err != nil {
		t.Fatal(err)
	}
	documents[view.Servers] = view.Server{Instance: dir, Pid: 42}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if d, ok := documents[r.URL.Path]; ok {
			_ = json.NewEncoder(w).Encode(d)
			return
		}
		http.Error(w, r.URL.Path+": container not created", http.StatusNotFound)
	})}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { server.Close() })
}

// call runs the program.
func call(root string, args ...string) (string, error) {
	var out bytes.Buffer
	a := &app{out: &out, root: root}
	cmd := a.command()
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	err := cmd.Execute()
	return out.String(), err
}

func container(id string) view.Container {
	return view.Container{Namespace: "ns", ID: id, Status: "running", Pid: 7, Created: time.Now().Add(-90 * time.Second),
		Usage: &view.Usage{Memory: 3 << 20, CPU: 1500 * time.Millisecond, At: time.Now()}}
}

// Two containerds on one host: lists have both, an id is looked for in both,
// and what needs one asks which.
func TestTwoInstances(t *testing.T) {
	root := t.TempDir()
	fake(t, root, "aaaa", map[string]any{view.Containers: []view.Container{container("web"), container("only")},
		view.Containers + "/ns/only": view.Inspect{Bundle: "/b"}, view.Flights: []view.Flight{{Namespace: "ns", ID: "web"}}})
	fake(t, root, "bbbb", map[string]any{view.Containers: []view.Container{container("web")}, view.Flights: []view.Flight{}})
	if err := os.Mkdir(filepath.Join(root, "dead"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "dead/server"), nil, 0o600); err != nil { // a server that was killed
		t.Fatal(err)
	}
	for _, c := range []struct{ args, want, failure string }{
		{"ps", "bbbb      ns         web   7    running  1m30s  0      3.0 MiB  1.5s", ""},
		{"ps --instance a", "NAMESPACE  ID    PID", ""},
		{"instances", "bbbb", ""},
		{"inspect only", `"bundle": "/b"`, ""},
		{"inspect on", `"bundle": "/b"`, ""},
		{"inspect web", "", `find container "web": it may be ns/web in aaaa, ns/web in bbbb (write NAMESPACE/ID, or choose with --instance)`},
		{"inspect other/web", "", `find container "other/web": no server knows it`},
		{"--instance b inspect web", "", "not known to the server: /v1/containers/ns/web"},
		{"debug log", "", "choose an instance: there are 2: aaaa, bbbb (name one with --instance)"},
		{"--instance c ps", "", `find instance "c" in ` + root},
		{"__complete inspect ", "web", ""},
		{"__complete --instance ", "bbbb", ""},
		{"__complete debug pprof ", "heap", ""},
		{"top -d 1ms", "", "interval 1ms: less than 100ms"},
	} {
		args := strings.Split(c.args, " ")
		out, err := call(root, args...)
		if c.failure == "" && (err != nil || !strings.Contains(out, c.want)) {
			t.Errorf("%s: %v, want %q in\n%s", c.args, err, c.want, out)
		}
		if c.failure != "" && (err == nil || !strings.Contains(err.Error(), c.failure)) {
			t.Errorf("%s: got %v, want %q", c.args, err, c.failure)
		}
	}
	if _, err := call(t.TempDir(), "ps"); err == nil || !strings.Contains(err.Error(), "no server runs") && !strings.Contains(err.Error(), "permission") {
		t.Errorf("without a server: %v", err)
	}
}

// A server that hangs does not hide the others, nor is it passed over in
// silence, also where a dead one is found after it.
func TestHangingInstance(t *testing.T) {
	root := t.TempDir()
	for _, name := range []string{"hangs", "zz"} {
		if err := os.MkdirAll(filepath.Join(root, name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name, "server"), []byte("pid=1"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("unix", filepath.Join(root, "hangs", view.Socket)) // and nobody accepts
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	const want = "no answer in time"
	if os.Geteuid() == 0 {
		if _, err := call(root, "ps"); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "hangs") {
			t.Errorf("alone: got %v, want %q", err, want)
		}
	}
	fake(t, root, "aaaa", map[string]any{view.Containers: []view.Container{container("web")}})
	var out, errs bytes.Buffer
	cmd := (&app{out: &out, errs: &errs, root: root}).command()
	cmd.SetArgs([]string{"ps"})
	if err := cmd.Execute(); err != nil || !strings.Contains(out.String(), "web") || !strings.Contains(errs.String(), want) {
		t.Errorf("beside another: got %v, %q, %q", err, out.String(), errs.String())
	}
}

// What others wrote does not reach the terminal's own language.
func TestNoControlCharacters(t *testing.T) {
	root := t.TempDir()
	const bad = "exec \x1b[31m/x\x07\u009b2J\u202e: no such file"
	fake(t, root, "a", map[string]any{view.Containers: []view.Container{container("web\x1b[2J")},
		view.Flights:             []view.Flight{{Namespace: "ns", ID: "web", Cause: bad, Gone: &time.Time{}}},
		view.Flights + "/ns/web": view.Flight{Namespace: "ns", ID: "web", Cause: bad, Events: []view.Event{{What: "create", Detail: bad}}}})
	for _, args := range []string{"ps -a", "why web"} {
		out, err := call(root, strings.Split(args, " ")...)
		if err != nil || strings.ContainsAny(out, "\x1b\x07\u009b\u202e") || !strings.Contains(out, "[31m/x") {
			t.Errorf("%s: %v in %q", args, err, out)
		}
	}
}

// A profile that does not come leaves the file alone.
func TestProfileThatFails(t *testing.T) {
	file := filepath.Join(t.TempDir(), "mine")
	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := call(t.TempDir(), "debug", "pprof", "heap", "-f", file); err == nil {
		t.Error("got no error without a server")
	}
	if b, err := os.ReadFile(file); string(b) != "mine" {
		t.Errorf("got %q, %v, want what was there", b, err)
	}
}

func TestPick(t *testing.T) {
	in := &instance{dir: "/run/foundry/x"}
	all := []named{{in, "a", "web"}, {in, "a", "web-2"}, {in, "b", "db"}, {in, "c", "db"}}
	for arg, want := range map[string]string{"web": "a/web", "web-": "a/web-2", "b/db": "b/db", "c/d": "c/db"} {
		if n, err := pick(arg, all); err != nil || n.String() != want {
			t.Errorf("%s: got %v, %v, want %s", arg, n, err, want)
		}
	}
	for _, arg := range []string{"we", "db", "", "x", "a/", "/web"} {
		if n, err := pick(arg, all); err == nil {
			t.Errorf("%q: got %v, want an error", arg, n)
		}
	}
}

func TestLoads(t *testing.T) {
	in, t0 := open("/x"), time.Unix(1e9, 0)
	at := func(id string, s int, cpu time.Duration, read uint64) listed {
		return listed{in, view.Container{ID: id, Usage: &view.Usage{At: t0.Add(time.Duration(s) * time.Second), CPU: cpu, ReadBytes: read}}}
	}
	before := []listed{at("a", 0, time.Second, 100), at("b", 0, 0, 0), at("again", 0, time.Hour, 1000), {in, view.Container{ID: "c"}}}
	now := []listed{at("a", 2, 2*time.Second, 300), at("b", 2, 3*time.Second, 0), at("again", 2, 0, 0), at("c", 2, 1, 1), at("new", 2, 1, 1)}
	got := loads(before, now)
	if len(got) != 3 || got[0].ID != "b" || got[0].CPU != 150 || got[1].CPU != 50 || got[1].ReadBytes != 100 || got[2].CPU != 0 || got[2].ReadBytes != 0 {
		t.Errorf("got %+v", got)
	}
}

func TestWords(t *testing.T) {
	for got, want := range map[string]string{
		size(0): "0 B", size(1023): "1023 B", size(1536): "1.5 KiB", size(5 << 30): "5.0 GiB",
		age(59 * time.Second): "59s", age(61 * time.Second): "1m1s", age(25 * time.Hour): "25h0m", age(72 * time.Hour): "3d",
		took(1234 * time.Nanosecond):                   "0s",
		took(1234 * time.Microsecond):                  "1.23ms",
		took(1234 * time.Millisecond):                  "1.234s",
		oneLine(errors.New("a: b\n  c\n")):             "a: b; c;",
		what(view.Event{What: view.Phase + "cgroup"}):  "  cgroup",
		detail(view.Event{What: view.Exited, Pid: 3}):  "pid 3, status 0",
		detail(view.Event{Signal: 15, Detail: "x\ny"}): "terminated, x y",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestCheckWorst(t *testing.T) {
	there := func() (string, bool) { return "there", true }
	not := func() (string, bool) { return "not there", false }
	for _, c := range []struct {
		features []feature
		want     int
	}{
		{[]feature{{"a", there, "e", "f", true}, {"b", there, "e", "f", false}}, 0},
		{[]feature{{"a", there, "e", "f", true}, {"b", not, "e", "f", false}}, 1},
		{[]feature{{"a", not, "e", "f", true}, {"b", not, "e", "f", false}}, 2},
	} {
		found := look(c.features)
		if got := worst(found); got != c.want {
			t.Errorf("%+v: got %d, want %d", found, got, c.want)
		}
		for _, f := range found {
			if (f.State == stateOK) != (f.Effect == "") {
				t.Errorf("%+v", f)
			}
		}
	}
	names := map[string]bool{}
	for _, f := range features() { // whatever this host has: each says what its absence means
		if f.effect == "" || names[f.name] {
			t.Errorf("%q: effect %q, or named twice", f.name, f.effect)
		}
		names[f.name] = true
	}
}

func TestHierarchies(t *testing.T) {
	h := readHierarchies("cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\ncgroup /sys/fs/cgroup/cpu cgroup rw,cpu,cpuacct 0 0\ntmpfs /tmp tmpfs rw 0 0\n")
	if mode, ok := h.mode(); !ok || mode != "hybrid: v1, and v2 at /sys/fs/cgroup/unified" {
		t.Errorf("got %q", mode)
	}
	if found, ok := h.has("io", "cpuacct")(); !ok || found != "cpuacct" {
		t.Errorf("got %q", found)
	}
	if _, ok := (hierarchies{}).mode(); ok {
		t.Error("a host without cgroups can hold containers")
	}
}
