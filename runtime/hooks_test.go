// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func TestHooksRunInOrderUntilOneFails(t *testing.T) {
	broken := errors.New("exit status 1")
	for _, tt := range []struct {
		name string
		all  bool
		ran  string
		err  string
	}{
		{"create", false, "/a /b", `createRuntime hook 1 "/b": exit status 1: no bridge`},
		{"poststop", true, "/a /b /c", `createRuntime hook 1 "/b": exit status 1: no bridge`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var ran []string
			run := func(_ context.Context, h hookRun) (string, error) {
				ran = append(ran, h.path)
				if h.path == "/b" {
					return "no bridge\n", broken
				}
				return "noise", nil
			}
			l := hookList{kind: "createRuntime", hooks: []specs.Hook{{Path: "/a"}, {Path: "/b"}, {Path: "/c"}}}
			err := l.run(t.Context(), run, tt.all)
			if !errors.Is(err, broken) || err.Error() != tt.err {
				t.Errorf("got error %q, want %q", err, tt.err)
			}
			if got := strings.Join(ran, " "); got != tt.ran {
				t.Errorf("ran %q, want %q", got, tt.ran)
			}
		})
	}
}

func TestWhatAHookGets(t *testing.T) {
	spec := &specs.Spec{Version: "1.3.0", Annotations: map[string]string{"a": "b"}}
	state := hookState(spec, "web-1", "/bundle", specs.StateCreating, 7)
	var got []hookRun
	run := func(_ context.Context, h hookRun) (string, error) { got = append(got, h); return "", nil }
	l := hookList{kind: "createRuntime", hooks: []specs.Hook{{Path: "/a"}, {Path: "/b", Args: []string{"b", "x"}, Env: []string{"K=V"}}},
		state: state, dir: state.Bundle, env: []string{"TRACEPARENT=00-1-2-01"}}
	if err := l.run(t.Context(), run, false); err != nil {
		t.Fatal(err)
	}
	if h := got[0]; h.dir != "/bundle" || strings.Join(h.args, " ") != "/a" || len(h.env) != 2 || !strings.HasPrefix(h.env[0], "PATH=") || h.env[1] != l.env[0] {
		t.Errorf("bare hook: got %+v", h)
	}
	if h := got[1]; strings.Join(h.args, " ") != "b x" || strings.Join(h.env, " ") != "K=V" {
		t.Errorf("full hook: got %+v", h)
	}
	want := `{"ociVersion":"1.3.0","id":"web-1","status":"creating","pid":7,"bundle":"/bundle","annotations":{"a":"b"}}`
	if string(got[0].state) != want {
		t.Errorf("state\ngot  %s\nwant %s", got[0].state, want)
	}
}

func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hook")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRunDirectly(t *testing.T) {
	dir := t.TempDir()
	state, err := json.Marshal(specs.State{ID: "web-1"})
	if err != nil {
		t.Fatal(err)
	}
	one := 1
	for _, tt := range []struct {
		name, text, err string
		timeout         *int
	}{
		{"fine", `cat >state; pwd >dir; echo "$K" >env`, "", nil},
		{"fails with its output", `echo no bridge >&2; exit 3`, `exit status 3: no bridge`, nil},
		{"leaves a child behind that holds its output", `sleep 5 & exit 0`, "", nil},
		{"takes too long", `exec sleep 60`, "killed: it took longer than its timeout of 1s", &one},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := specs.Hook{Path: script(t, tt.text), Env: []string{"K=V", "PATH=/usr/bin:/bin"}, Timeout: tt.timeout}
			err := runHook(t.Context(), runDirectly, h, hookRun{path: h.Path, dir: dir, env: h.Env, state: state})
			if got := errText(err); got != tt.err {
				t.Errorf("got %q, want %q", got, tt.err)
			}
		})
	}
	for file, want := range map[string]string{"state": string(state), "dir": dir + "\n", "env": "V\n"} {
		if got, err := os.ReadFile(filepath.Join(dir, file)); err != nil || string(got) != want {
			t.Errorf("%s: got %q, %v; want %q", file, got, err, want)
		}
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestTailKeepsTheEnd(t *testing.T) {
	out, err := newTail(8)
	if err != nil {
		t.Fatal(err)
	}
	defer out.close()
	held, err := os.OpenFile(filepath.Join("/proc/self/fd", fdName(out.w)), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close() // somebody keeps the pipe open
	if _, err := held.WriteString("0123456789"); err != nil {
		t.Fatal(err)
	}
	out.start()
	if _, err := held.WriteString("abc"); err != nil {
		t.Fatal(err)
	}
	if got, want := out.finish(), "56789abc"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
