// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/pkg/oci"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"foundry/integration/env"
)

func TestHooks(t *testing.T) {
	d := env.Containerd(t, env.Config{})
	for _, s := range []story{
		{"AllSixAsRunc", sixHooks},
		{"StartContainerFails", startContainerFails},
	} {
		s.run(t, d)
	}
}

// deposition is a hook's script: a line with its kind, what it was told, where
// it is and whose namespaces it is in.
const deposition = `kind=$1; file=$2
line="$kind $(cat | tr -d ' \n') $(pwd) $ENVIRONMENT"
for n in mnt pid net ipc uts user; do line="$line $n=$(readlink /proc/self/ns/$n)"; done
echo "$line" >>"$file"`

// sixHooks compares, for each hook, state, working directory, environment and
// namespaces with what runc does with the same spec.
func sixHooks(t *testing.T, d *env.Daemon) {
	got := depositions(t, d, env.Runtime())
	if _, err := exec.LookPath("runc"); err != nil {
		t.Fatalf("nothing to compare with: %v", err)
	}
	want := depositions(t, d, "io.containerd.runc.v2")
	// runc before 1.2 says so although the program runs.
	want = strings.Replace(want, `poststart {"ociVersion":"V","id":"ID","status":"created"`, `poststart {"ociVersion":"V","id":"ID","status":"running"`, 1)
	lines := strings.Split(strings.TrimSpace(got), "\n")
	var order []string
	for _, line := range lines {
		kind, _, _ := strings.Cut(line, " ")
		order = append(order, kind)
	}
	if right := []string{"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"}; !slices.Equal(order, right) {
		t.Errorf("got %q, want %q", order, right)
	}
	// runc runs poststart before startContainer, or beside it.
	theirs := strings.Split(strings.TrimSpace(want), "\n")
	slices.Sort(lines)
	slices.Sort(theirs)
	if !slices.Equal(lines, theirs) {
		t.Errorf("got\n%s\nrunc's\n%s", got, want)
	}
}

// depositions runs a container with all hooks and returns what they wrote,
// without what differs by chance.
func depositions(t *testing.T, d *env.Daemon, runtime string) string {
	t.Helper()
	dir := t.TempDir()
	c := d.Container(t, env.ContainerConfig{Runtime: runtime, Args: []string{"/bin/sleep", "100000"}, Opts: []oci.SpecOpts{change(func(s *specs.Spec) {
		s.Process.Cwd = "/tmp"
		s.Mounts = append(s.Mounts, specs.Mount{Destination: "/trace", Type: "bind", Source: dir, Options: []string{"rbind", "rw"}})
		s.Hooks = witnesses(dir + "/trace")
		s.Hooks.StartContainer = witness("startContainer", "/trace/trace")
	})}})
	task := d.StartTask(t, c)
	inside, outside := spaces(t, int(task.Pid())), spaces(t, os.Getpid())
	if err := task.Kill(d.Context(t), 9); err != nil {
		t.Fatal(err)
	}
	d.Finish(t, task)
	b, err := os.ReadFile(dir + "/trace")
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for file, link := range inside {
		if link != outside[file] {
			text = strings.ReplaceAll(text, file+"="+link, file+"=CONTAINER")
		}
	}
	for file, link := range outside {
		text = strings.ReplaceAll(text, file+"="+link, file+"=HOST")
	}
	text = strings.ReplaceAll(text, fmt.Sprintf(`"pid":%d,`, task.Pid()), `"pid":INIT,`)
	text = strings.ReplaceAll(strings.ReplaceAll(text, c.ID(), "ID"), d.Namespace, "NS")
	return regexp.MustCompile(`"ociVersion":"[^"]*"`).ReplaceAllString(text, `"ociVersion":"V"`)
}

// witnesses are hooks of all kinds that run on the host, startContainer apart.
func witnesses(file string) *specs.Hooks {
	return &specs.Hooks{
		Prestart:      witness("prestart", file), //nolint:staticcheck // deprecated, but in use
		CreateRuntime: witness("createRuntime", file), CreateContainer: witness("createContainer", file),
		Poststart: witness("poststart", file), Poststop: witness("poststop", file),
	}
}

func witness(kind, file string) []specs.Hook {
	return []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", deposition, "sh", kind, file},
		Env: []string{"PATH=/bin:/usr/bin", "ENVIRONMENT=its-own"}}}
}

func spaces(t *testing.T, pid int) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, file := range []string{"mnt", "pid", "net", "ipc", "uts", "user"} {
		link, err := os.Readlink(filepath.Join("/proc", fmt.Sprint(pid), "ns", file))
		if err != nil {
			t.Fatal(err)
		}
		all[file] = link
	}
	return all
}

// A hook in the container that fails ends Start, and the container.
func startContainerFails(t *testing.T, d *env.Daemon) {
	dir := t.TempDir()
	c := d.Container(t, env.ContainerConfig{Args: []string{"/bin/sleep", "100000"}, Opts: []oci.SpecOpts{change(func(s *specs.Spec) {
		s.Hooks = &specs.Hooks{
			StartContainer: []specs.Hook{{Path: "/bin/false"}},
			Poststop:       []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", "cat >" + dir + "/stopped"}}},
		}
	})}})
	task := d.Create(t, c, nil)
	if err := task.Start(d.Context(t)); err == nil || !strings.Contains(err.Error(), `startContainer hook 0 "/bin/false": exit status 1`) {
		t.Errorf("got %v", err)
	}
	env.Wait(t, task.Exit)
	if _, err := task.Delete(d.Context(t)); err != nil {
		t.Fatal(err)
	}
	var state specs.State
	b, err := os.ReadFile(dir + "/stopped")
	if err != nil || json.Unmarshal(b, &state) != nil || state.Status != specs.StateStopped {
		t.Errorf("poststop: got %q, %v", b, err)
	}
}
