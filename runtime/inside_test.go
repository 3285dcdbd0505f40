// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// witness is a hook's script: it writes what it is told and where it is.
const witness = `{ cat; echo; pwd; for n in mnt pid net ipc uts user; do readlink /proc/self/ns/$n; done
	grep -E '^(CapEff|Uid|NoNewPrivs)' /proc/self/status; cat /proc/self/cgroup; env; } >`

// testimony is what a witness wrote.
type testimony struct{ state, dir, namespaces, rest string }

func readTestimony(t testing.TB, file string) testimony {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.SplitN(string(data), "\n", 9)
	if len(parts) != 9 {
		t.Fatalf("%s: got %q", file, data)
	}
	return testimony{parts[0], parts[1], strings.Join(parts[2:8], " "), parts[8]}
}

func namespacesOf(t testing.TB, pid int) string {
	t.Helper()
	var out []string
	for _, n := range []string{"mnt", "pid", "net", "ipc", "uts", "user"} {
		link, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, n))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, link)
	}
	return strings.Join(out, " ")
}

// inImage writes a hook into the image of a world.
func (w *world) inImage(name, text string) specs.Hook {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.image, name), []byte("#!/bin/sh\n"+text), 0o755); err != nil {
		w.t.Fatal(err)
	}
	return specs.Hook{Path: "/" + name}
}

func TestHooksInside(t *testing.T) {
	w := newWorldWith(t, Config{TraceEnv: func(context.Context) []string { return []string{"TRACEPARENT=00-aa-bb-01"} }})
	file := filepath.Join(t.TempDir(), "create")
	spec := w.spec("inside", "sleep", "60")
	spec.Process.User.UID = 1000
	spec.Process.Cwd = "/tmp"
	if err := os.Chmod(filepath.Join(w.image, "tmp"), 0o777); err != nil {
		t.Fatal(err)
	}
	spec.Hooks = &specs.Hooks{
		CreateContainer: []specs.Hook{hook(t, witness+file)},
		StartContainer:  []specs.Hook{w.inImage("start", witness+"/tmp/witness")},
	}
	b := w.create("inside", spec)
	want := namespacesOf(t, b.Pid())
	got := readTestimony(t, file)
	state := func(status string) string {
		return fmt.Sprintf(`{"ociVersion":"1.3.0","id":"inside","status":"%s","pid":1,"bundle":"%s"}`, status, b.bundle)
	}
	if got.state != state("creating") || got.namespaces != want || got.dir != filepath.Join(b.bundle, "rootfs") {
		t.Errorf("createContainer: got %+v\nwant namespaces %s", got, want)
	}
	if !strings.Contains(got.rest, "TRACEPARENT=00-aa-bb-01\n") || !strings.Contains(got.rest, "Uid:\t0\t") {
		t.Errorf("createContainer: got %s", got.rest)
	}
	if err := b.Start(ctx(t)); err != nil {
		t.Fatal(err)
	}
	got = readTestimony(t, filepath.Join(w.image, "tmp/witness"))
	if got.state != state("created") || got.namespaces != want || got.dir != "/tmp" {
		t.Errorf("startContainer: got %+v\nwant namespaces %s", got, want)
	}
	for _, line := range []string{"Uid:\t1000\t1000", "CapEff:\t0000000000000000\n", "NoNewPrivs:\t1\n", w.group + "/inside\n"} {
		if !strings.Contains(got.rest, line) {
			t.Errorf("startContainer: no %q in %s", line, got.rest)
		}
	}
}

// A hook in the container that fails, or hangs, ends Create or Start with it.
func TestFailingHooksInside(t *testing.T) {
	w := newWorld(t)
	second := 1
	slow := w.inImage("slow", "exec sleep 60")
	slow.Timeout = &second
	bad := hook(t, "echo no device >&2; exit 3")
	for i, tt := range []struct {
		name  string
		hooks specs.Hooks
		want  string
		start bool
	}{
		{"create", specs.Hooks{CreateContainer: []specs.Hook{bad}}, fmt.Sprintf("createContainer hook 0 %q: exit status 3: no device", bad.Path), false},
		{"start", specs.Hooks{StartContainer: []specs.Hook{w.inImage("ok", "exit 0"), w.inImage("bad", "exit 4")}}, `startContainer hook 1 "/bad": exit status 4`, true},
		{"hangs", specs.Hooks{StartContainer: []specs.Hook{slow}}, `startContainer hook 0 "/slow": killed: it took longer than its timeout of 1s`, true},
		{"on the host", specs.Hooks{StartContainer: []specs.Hook{bad}}, "no such file or directory", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			id := fmt.Sprint("inside", i)
			spec := w.spec(id, "sleep", "60")
			spec.Hooks = &tt.hooks
			b, err := w.tryCreate(id, spec)
			if tt.start && err == nil {
				err = b.Start(ctx(t))
				if e := b.wait(); e.Status != 137 {
					t.Errorf("got %+v, want it killed", e)
				}
				if err := b.Delete(ctx(t)); err != nil {
					t.Error(err)
				}
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if left := w.traces(t); left != nil {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// What a container may be besides, its hooks see it as it does.
func TestHooksInsideOfOthers(t *testing.T) {
	w := newWorld(t)
	filter := func(s *specs.Spec) {
		s.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActAllow,
			Syscalls: []specs.LinuxSyscall{{Names: []string{"mkdir", "mkdirat"}, Action: specs.ActErrno}}}
	}
	for _, tt := range []struct {
		name   string
		change func(*specs.Spec)
		want   string
	}{
		{"filter", filter, "not made 1"},
		{"filter with privileges", func(s *specs.Spec) { filter(s); s.Process.NoNewPrivileges = false }, "not made 1"},
		{"agent", func(s *specs.Spec) {
			filter(s)
			s.Linux.Seccomp.Syscalls[0].Action = specs.ActNotify
			s.Annotations = map[string]string{"foundry.seccomp.agent": "deny"}
		}, "not made 1"},
		{"terminal", func(s *specs.Spec) { s.Process.Terminal = true }, "made 1"},
		{"the host's pids", func(s *specs.Spec) {
			s.Linux.Namespaces = slices.DeleteFunc(s.Linux.Namespaces, func(ns specs.LinuxNamespace) bool { return ns.Type == specs.PIDNamespace })
		}, "made PID"},
		{"the host's pids by path", func(s *specs.Spec) {
			for i, ns := range s.Linux.Namespaces {
				if ns.Type == specs.PIDNamespace {
					s.Linux.Namespaces[i].Path = "/proc/self/ns/pid"
				}
			}
		}, "made PID"},
		{"no root moved", nil, "made 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "create")
			const report = `read -r state; pid=${state#*'"pid":'}; echo "$done ${pid%%,*}" >`
			id := strings.ReplaceAll(tt.name, " ", "")
			spec := w.spec(id, "sleep", "60")
			opts := Options{}
			if tt.change == nil {
				opts.NoPivotRoot = true
			} else {
				tt.change(spec)
			}
			start := w.inImage("start"+id, `done=made; mkdir /run/a 2>/dev/null || done="not made"; `+report+`/run/start`)
			spec.Hooks = &specs.Hooks{CreateContainer: []specs.Hook{hook(t, `done=made; `+report+file)}, StartContainer: []specs.Hook{start}}
			b, err := w.tryCreateWith(id, spec, opts)
			if err != nil {
				t.Fatal(err)
			}
			if err := b.Start(ctx(t)); err != nil {
				t.Fatal(err)
			}
			want := strings.ReplaceAll(tt.want, "PID", fmt.Sprint(b.Pid())) + "\n"
			if _, got := b.exec("cat", "/run/start"); got != want {
				t.Errorf("startContainer: got %q, want %q", got, want)
			}
			if got, err := os.ReadFile(file); err != nil || string(got) != strings.TrimPrefix(want, "not ") {
				t.Errorf("createContainer: got %q, %v", got, err)
			}
		})
	}
}
