// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// A request that is given up while a hook runs leaves nothing, the hook not
// either.
func TestCancelledCreate(t *testing.T) {
	w := newWorld(t)
	begun := filepath.Join(t.TempDir(), "begun")
	spec := w.spec("cancelled", "true")
	spec.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{hook(t, "echo $$ >"+begun+"; exec sleep 60")}}
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("the client went away")
	go func() {
		eventually(t, "the hook", func() bool { data, _ := os.ReadFile(begun); return len(data) > 0 })
		cancel(gone)
	}()
	_, err := w.Create(ctx, CreateConfig{Namespace: "test", ID: "cancelled", Bundle: w.bundle("cancelled", spec), Rootfs: w.rootfs()})
	if !errors.Is(err, gone) {
		t.Errorf("got %v, want the cause of the cancellation", err)
	}
	if left := w.traces(t); left != nil {
		t.Errorf("left behind: %v", left)
	}
}

// A hook that takes too long goes with what it has started.
func TestHookWithChildren(t *testing.T) {
	w := newWorld(t)
	file := filepath.Join(t.TempDir(), "child")
	spec := w.spec("children", "true")
	second := 1
	slow := hook(t, "sleep 60 & echo $! >"+file+"; wait")
	slow.Timeout = &second
	spec.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{slow}}
	if _, err := w.Create(t.Context(), CreateConfig{Namespace: "test", ID: "children", Bundle: w.bundle("children", spec), Rootfs: w.rootfs()}); err == nil {
		t.Fatal("created")
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	child := strings.TrimSpace(string(data))
	eventually(t, "end of "+child, func() bool {
		line, err := os.ReadFile("/proc/" + child + "/cmdline")
		return err != nil || len(line) == 0
	})
}

// What a hook writes goes to a file that the test reads.
func hook(t testing.TB, text string) specs.Hook {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hook")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
		t.Fatal(err)
	}
	return specs.Hook{Path: path}
}

func TestHooks(t *testing.T) {
	w := newWorld(t)
	trace := filepath.Join(t.TempDir(), "trace")
	note := func(name string) []specs.Hook {
		return []specs.Hook{hook(t, `read -r state; case $state in *'"id":"hooks"'*) ;; *) exit 9;; esac
			status=${state#*'"status":"'}; echo `+name+` "${status%%'"'*}" "$(basename "$PWD")" >>`+trace)}
	}
	spec := w.spec("hooks", "true")
	spec.Hooks = &specs.Hooks{Prestart: note("prestart"), CreateRuntime: note("createRuntime"), Poststart: note("poststart"), Poststop: note("poststop")} //nolint:staticcheck
	b := w.create("hooks", spec)
	if err := b.Start(ctx(t)); err != nil {
		t.Fatal(err)
	}
	b.wait()
	if err := b.Delete(ctx(t)); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	want := "prestart creating hooks\ncreateRuntime creating hooks\npoststart running hooks\npoststop stopped hooks\n"
	if string(got) != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// nerdctl's hook does it so: with the pid of the state it finds the network
// namespace of a container whose root is not yet pivoted to.
func TestHookSeesTheNamespaces(t *testing.T) {
	w := newWorld(t)
	trace := filepath.Join(t.TempDir(), "trace")
	spec := w.spec("netns", "sleep", "60")
	h := hook(t, `read -r state; pid=${state#*'"pid":'}; readlink "/proc/${pid%%,*}/ns/net" >`+trace)
	spec.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{h}}
	b := w.create("netns", spec)
	got, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", b.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want+"\n" {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestFailingHooks(t *testing.T) {
	w := newWorld(t)
	trace := filepath.Join(t.TempDir(), "trace")
	second := 1
	slow := hook(t, "exec sleep 60")
	slow.Timeout = &second
	for i, tt := range []struct {
		name string
		hook specs.Hook
		want string
	}{
		{"status", hook(t, "echo no bridge >&2; exit 3"), "exit status 3: no bridge"},
		{"timeout", slow, "killed: it took longer than its timeout of 1s"},
		{"missing", specs.Hook{Path: "/nothing"}, "no such file or directory"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			id := fmt.Sprint("badhook", i)
			spec := w.spec(id, "true")
			spec.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{tt.hook}, Poststop: []specs.Hook{hook(t, "echo stopped >>"+trace)}}
			_, err := w.tryCreate(id, spec)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), fmt.Sprintf("createRuntime hook 0 %q: ", tt.hook.Path)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if got, err := os.ReadFile(trace); err != nil || string(got) != "stopped\n" {
				t.Errorf("poststop hooks: got %q, %v", got, err)
			}
			os.Remove(trace)
			if left := w.traces(t); left != nil {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// A container whose poststart hook fails is stopped.
func TestPoststartHookFails(t *testing.T) {
	w := newWorld(t)
	spec := w.spec("badstart", "sleep", "60")
	spec.Hooks = &specs.Hooks{Poststart: []specs.Hook{hook(t, "exit 4")}}
	b := w.create("badstart", spec)
	if err := b.Start(ctx(t)); err == nil || !strings.Contains(err.Error(), "poststart hook 0") {
		t.Errorf("got %v", err)
	}
	if e := b.wait(); e.Status != 137 {
		t.Errorf("got %+v, want killed", e)
	}
}

// A poststop hook that fails keeps neither the others from running nor the
// container from being deleted.
func TestPoststopHookFails(t *testing.T) {
	w := newWorld(t)
	trace := filepath.Join(t.TempDir(), "trace")
	spec := w.spec("badstop", "true")
	spec.Hooks = &specs.Hooks{Poststop: []specs.Hook{hook(t, "exit 4"), hook(t, "echo stopped >>"+trace)}}
	b := w.create("badstop", spec)
	if err := b.Delete(ctx(t)); err != nil {
		t.Errorf("got %v", err)
	}
	b.wait()
	if got, err := os.ReadFile(trace); err != nil || string(got) != "stopped\n" {
		t.Errorf("second hook: got %q, %v", got, err)
	}
}
