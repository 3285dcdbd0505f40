// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/containerd/v2/pkg/oci"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"foundry/integration/env"
)

var rewrite = flag.Bool("update", false, "rewrite testdata/operator with the shapes of today")

// foundry runs the operator's command line against the instances of d.
func foundry(t testing.TB, d *env.Daemon, args ...string) (out string, code int) {
	t.Helper()
	cmd := exec.Command(filepath.Join(env.Bin(t), "foundry"), args...)
	cmd.Env = []string{"FOUNDRY_ROOT=" + d.Dir + "/f", "PATH=" + env.Bin(t) + ":" + os.Getenv("PATH")}
	text, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		t.Fatalf("foundry %q: %v", args, err)
	}
	return string(text), cmd.ProcessState.ExitCode()
}

// ask is foundry -o json, decoded.
func ask(t testing.TB, d *env.Daemon, into any, args ...string) {
	t.Helper()
	text, code := foundry(t, d, append(args, "-o", "json")...)
	if code != 0 {
		t.Fatalf("foundry %q: exit status %d: %s", args, code, text)
	}
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("foundry %q: %v in %s", args, err, text)
	}
}

// cast are containers in all the states that an operator may wonder about.
type cast struct {
	running, paused, exited, killed, oom, deleted *env.Task
}

func assemble(t *testing.T, d *env.Daemon) cast {
	t.Helper()
	named := func(id string, opts []oci.SpecOpts, args ...string) *env.Task {
		return d.StartTask(t, d.Container(t, env.ContainerConfig{ID: id, Args: args, Opts: opts}))
	}
	c := cast{
		running: named("running", nil, "/bin/sleep", "100000"),
		paused:  named("paused", nil, "/bin/sleep", "100000"),
		exited:  named("exited", nil, "/bin/sh", "-c", "exit 7"),
		killed:  named("killed", nil, "/bin/sleep", "100000"),
		oom: named("oom", []oci.SpecOpts{oci.WithMemoryLimit(16 << 20)}, "/bin/sh", "-c",
			"x=x; while true; do x=$x$x; done"),
		deleted: named("deleted", nil, "/bin/sh", "-c", "exit 3"),
	}
	if err := c.paused.Pause(d.Context(t)); err != nil {
		t.Fatal(err)
	}
	if err := c.killed.Kill(d.Context(t), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for _, task := range []*env.Task{c.exited, c.killed, c.oom} {
		env.Wait(t, task.Exit)
	}
	d.Finish(t, c.deleted)
	return c
}

// flight is what the stories read of `foundry why`.
type flight struct {
	Cause  string
	Gone   *string
	Events []struct {
		What, Detail string
		Took         int64 `json:"took_ns"`
	}
}

// Who asks what runs, and why something does not, gets an answer for every
// state, for one that failed, and for one that is gone.
func TestOperator(t *testing.T) {
	requireFoundry(t)
	d := env.Containerd(t, env.Config{})
	c := assemble(t, d)
	fail := func(id string, spec func(*specs.Spec)) {
		t.Helper()
		if err := (failing{name: id, id: id, spec: spec}).try(t, d, nil); err == nil {
			t.Errorf("%s: got no error", id)
		}
	}
	fail("badspec", func(s *specs.Spec) { s.Process.Cwd = "relative" })
	fail("badhook", func(s *specs.Spec) {
		s.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", "echo the disk is on fire; exit 9"}}}}
	})
	t.Run("Ps", func(t *testing.T) { operatorPs(t, d, c) })
	t.Run("Why", func(t *testing.T) { operatorWhy(t, d) })
	t.Run("Inspect", func(t *testing.T) { operatorInspect(t, d, c) })
	t.Run("Tables", func(t *testing.T) { operatorTables(t, d) })
	t.Run("Refuses", func(t *testing.T) { operatorRefuses(t, d) })
	t.Run("Shapes", func(t *testing.T) { operatorShapes(t, d) })
	t.Run("Debug", func(t *testing.T) { operatorDebug(t, d) })
}

func operatorPs(t *testing.T, d *env.Daemon, c cast) {
	type row struct {
		ID, Status, Cause string
		Pid               int
		Exit              *struct{ Status int }
		Usage             *struct{ Memory, Pids int }
	}
	var rows []row
	ask(t, d, &rows, "ps", "-a")
	got := map[string]row{}
	for _, r := range rows {
		got[r.ID] = r
	}
	for id, want := range map[string]string{
		"running": "running", "paused": "paused", "exited": "stopped", "killed": "stopped", "oom": "stopped",
		"deleted": "gone", "badspec": "gone", "badhook": "gone",
	} {
		if got[id].Status != want {
			t.Errorf("%s: got %q, want %q", id, got[id].Status, want)
		}
	}
	if r := got["running"]; r.Pid != int(c.running.Pid()) || r.Usage == nil || r.Usage.Memory == 0 || r.Usage.Pids != 1 {
		t.Errorf("running: got %+v, want pid %d and figures", r, c.running.Pid())
	}
	if r := got["exited"]; r.Exit == nil || r.Exit.Status != 7 {
		t.Errorf("exited: got %+v", r)
	}
	if r := got["badhook"]; !strings.Contains(r.Cause, "the disk is on fire") {
		t.Errorf("badhook: got %q", r.Cause)
	}
}

func operatorWhy(t *testing.T, d *env.Daemon) {
	for id, want := range map[string]string{
		"running": "it runs",
		"paused":  "it runs",
		"exited":  "init exited with status 7",
		"deleted": "init exited with status 3",
		"killed":  "init was ended by SIGKILL, which was asked for by containerd (Kill)",
		"oom":     "init was ended by SIGKILL: out of memory, 1 killed, limit 16.0 MiB, peak 16.0 MiB",
		"badspec": "it was never created: ",
		"badhook": "the disk is on fire",
	} {
		var f flight
		ask(t, d, &f, "why", d.Namespace+"/"+id)
		if !strings.Contains(f.Cause, want) {
			t.Errorf("%s: got %q, want %q", id, f.Cause, want)
		}
		if gone := id == "deleted" || strings.HasPrefix(id, "bad"); gone != (f.Gone != nil) {
			t.Errorf("%s: gone: %v", id, f.Gone)
		}
	}
	var f flight
	ask(t, d, &f, "why", "running")
	var told []string
	for _, e := range f.Events {
		told = append(told, e.What)
		if strings.HasPrefix(e.What, "phase ") && e.Took <= 0 {
			t.Errorf("%s took nothing", e.What)
		}
	}
	want := "create, phase stdio, phase load, phase cgroup, phase plan, phase clone, phase mounts, created, start, phase exec, started"
	if got := strings.Join(told, ", "); got != want {
		t.Errorf("events of a start: got %s, want %s", got, want)
	}
	ask(t, d, &f, "why", "badhook")
	if last := f.Events[len(f.Events)-1]; last.What != "create failed" || !strings.Contains(last.Detail, "createRuntime hook 0 \"/bin/sh\"") {
		t.Errorf("badhook: the last event is %+v", last)
	}
}

func operatorInspect(t *testing.T, d *env.Daemon, c cast) {
	var v struct {
		Status    string
		Processes []struct{ Stdout string }
		Mounts    []struct{ Target string }
		Owned     struct {
			Pids        []int
			CgroupDirs  []string `json:"cgroup_dirs"`
			Descriptors map[string]string
			Journal     string
			Undo        []string
		}
	}
	ask(t, d, &v, "inspect", "running")
	pid := int(c.running.Pid())
	if !slices.Equal(v.Owned.Pids, []int{pid}) || len(v.Owned.Undo) == 0 || v.Mounts[0].Target != "/" {
		t.Errorf("got %+v", v)
	}
	for _, path := range append(v.Owned.CgroupDirs, v.Owned.Journal) {
		if _, err := os.Stat(path); err != nil {
			t.Errorf("owned: %v", err)
		}
	}
	open := slices.Collect(maps.Values(v.Owned.Descriptors))
	for _, want := range []string{fmt.Sprint("pidfd of ", pid), v.Processes[0].Stdout, v.Owned.Journal + "/journal"} {
		if !slices.Contains(open, want) {
			t.Errorf("descriptors: %q lack %q", open, want)
		}
	}
}

func operatorTables(t *testing.T, d *env.Daemon) {
	for _, c := range []struct{ args, want string }{
		{"ps", "stopped (7)"},
		{"ps -a", "the disk is on fire"},
		{"why oom", "out of memory"},
		{"stats oom", "16.0 MiB"},
		{"top -n 1 -d 200ms", "CPU%"},
		{"instances", "CONTAINERD"},
		{"--help", "Available Commands"},
		{"completion bash", "complete"},
		{"__complete why ru", "running"},
	} {
		text, code := foundry(t, d, strings.Fields(c.args)...)
		if code != 0 || !strings.Contains(text, c.want) {
			t.Errorf("%s: exit status %d, want %q in\n%s", c.args, code, c.want, text)
		}
	}
}

// An error is one line: object, cause, remedy.
func operatorRefuses(t *testing.T, d *env.Daemon) {
	for _, c := range []struct{ args, want string }{
		{"inspect nobody", `foundry: find container "nobody": no server knows it (foundry ps -a lists those that there are and were)`},
		{"inspect deleted", `foundry: find container "deleted": no server knows it`},
		{"why bad", `foundry: find container "bad": it may be `},
		{"ps -o yaml", `foundry: read command line: output "yaml": not a format (table, json)`},
		{"--instance x ps", `foundry: find instance "x" in ` + d.Dir + `/f: there is none (foundry instances lists them)`},
		{"--instance /nothing ps", `foundry: ask server in /nothing: nobody answers`},
		{"debug pprof soup", `foundry: fetch profile "soup": there is none of that name`},
		{"debug log-level loud", `foundry: ask server in ` + d.Dir},
	} {
		text, code := foundry(t, d, strings.Fields(c.args)...)
		if code != 1 || !strings.HasPrefix(text, c.want) || strings.Count(text, "\n") != 1 {
			t.Errorf("%s: exit status %d, %q, want one line that begins with %q", c.args, code, text, c.want)
		}
	}
}

// What programs read keeps its names and types.
func operatorShapes(t *testing.T, d *env.Daemon) {
	for name, args := range map[string][]string{
		"ps": {"ps", "-a"}, "why": {"why", "badhook"}, "inspect": {"inspect", "running"}, "stats": {"stats", "oom"},
		"top": {"top", "-n", "1", "-d", "200ms"}, "instances": {"instances"},
	} {
		var v any
		ask(t, d, &v, args...)
		set := map[string]bool{}
		shape(v, "", set)
		goldenShape(t, name, set)
	}
}

// goldenShape compares a shape with the committed one. Which of the optional
// fields are there depends on the host, so a shape may lack some.
func goldenShape(t *testing.T, name string, set map[string]bool) {
	t.Helper()
	file := filepath.Join("testdata/operator", name+".txt")
	old, err := os.ReadFile(file)
	if *rewrite {
		for line := range strings.Lines(string(old)) {
			set[strings.TrimSpace(line)] = true
		}
		if err := os.WriteFile(file, []byte(strings.Join(slices.Sorted(maps.Keys(set)), "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	known := strings.Split(string(old), "\n")
	for line := range set {
		if !slices.Contains(known, line) {
			t.Errorf("%s: %s is new: run with -update and read the diff", name, line)
		}
	}
}

// shape lists the paths of a document with their types.
func shape(v any, path string, into map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			if strings.HasSuffix(path, ".descriptors") || strings.HasSuffix(path, ".annotations") || strings.HasSuffix(path, ".namespaces") {
				k = "*"
			}
			shape(e, path+"."+k, into)
		}
	case []any:
		for _, e := range v {
			shape(e, path+"[]", into)
		}
	default:
		into[fmt.Sprintf("%s %T", path, v)] = true
	}
}

func operatorDebug(t *testing.T, d *env.Daemon) {
	file := t.TempDir() + "/heap"
	if text, code := foundry(t, d, "debug", "pprof", "heap", "-f", file); code != 0 {
		t.Fatalf("heap: %s", text)
	}
	if b, err := os.ReadFile(file); err != nil || len(b) < 100 || b[0] != 0x1f || b[1] != 0x8b {
		t.Errorf("heap: %d bytes, %v: no gzip", len(b), err)
	}
	for args, want := range map[string]string{
		"debug goroutines":       "untilEnd",
		"debug log -n 1000":      "msg=serving",
		"debug log-level":        "info",
		"debug pprof trace -f -": "go 1.", // the head of an execution trace
	} {
		words := strings.Fields(args)
		if strings.Contains(args, "trace") {
			words = append(words, "--seconds", "1")
		}
		if text, code := foundry(t, d, words...); code != 0 || !strings.Contains(text, want) {
			t.Errorf("%s: exit status %d, want %q in %.200q", args, code, want, text)
		}
	}
	// Calls are logged, with their number, once somebody wants that.
	if text, code := foundry(t, d, "debug", "log-level", "debug"); code != 0 || text != "debug\n" {
		t.Fatalf("log-level: %q", text)
	}
	c, err := d.Client.LoadContainer(d.Context(t), "running")
	if err != nil {
		t.Fatal(err)
	}
	task, err := c.Task(d.Context(t), nil)
	if err == nil {
		_, err = task.Status(d.Context(t))
	}
	if err != nil {
		t.Fatal(err)
	}
	if text, _ := foundry(t, d, "debug", "log"); !strings.Contains(text, "method=State namespace="+d.Namespace+" id=running") || !strings.Contains(text, "request=") {
		t.Errorf("log of calls: got %s", text)
	}
}
