// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/containerd/containerd/api/types"
	"github.com/opencontainers/runtime-spec/specs-go/features"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"foundry/shim"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestInfo: containerd can read what we can do, and gets its options back.
func TestInfo(t *testing.T) {
	options, err := proto.Marshal(&anypb.Any{TypeUrl: "x", Value: []byte("y")})
	must(t, err)
	for _, input := range [][]byte{nil, options} {
		stdin := filepath.Join(t.TempDir(), "stdin")
		must(t, os.WriteFile(stdin, input, 0o600))
		f, err := os.Open(stdin)
		must(t, err)
		defer f.Close()
		var out bytes.Buffer
		must(t, info(f, &out))
		var got types.RuntimeInfo
		must(t, proto.Unmarshal(out.Bytes(), &got))
		if (got.Options != nil) != (input != nil) || got.Name != "io.containerd.foundry.v1" || got.Features.TypeUrl != featuresType {
			t.Errorf("got %v", &got)
		}
		var what features.Features
		must(t, json.Unmarshal(got.Features.Value, &what))
		if !reflect.DeepEqual(&what, supported()) {
			t.Errorf("got %+v", what)
		}
	}
}

// TestLogRotates: the log and its predecessor are bounded, and a record is
// never split.
func TestLogRotates(t *testing.T) {
	root := t.TempDir()
	log, err := openLog(&flags{root: root}, &slog.LevelVar{})
	must(t, err)
	text := strings.Repeat("x", 1<<20)
	for range 20 {
		log.Info("m", "text", text)
	}
	for _, name := range []string{"log", "log.1"} {
		st, err := os.Stat(filepath.Join(root, name))
		must(t, err)
		if st.Size() > maxLog || st.Size() == 0 {
			t.Errorf("%s has %d bytes", name, st.Size())
		}
		data, err := os.ReadFile(filepath.Join(root, name))
		must(t, err)
		for _, line := range strings.Split(strings.TrimSpace(string(data)), "\n") {
			if !strings.HasPrefix(line, "time=") {
				t.Errorf("%s: a line begins with %.20q", name, line)
			}
		}
	}
}

// TestDebugLog: -debug is what makes Debug visible.
func TestDebugLog(t *testing.T) {
	for _, debug := range []bool{false, true} {
		log, err := openLog(&flags{root: t.TempDir(), debug: debug}, &slog.LevelVar{})
		must(t, err)
		if got := log.Enabled(t.Context(), slog.LevelDebug); got != debug {
			t.Errorf("debug %t: enabled %t", debug, got)
		}
	}
}

// TestRemoveOldSlots: records go when no journal needs them.
func TestRemoveOldSlots(t *testing.T) {
	root := t.TempDir()
	must(t, os.WriteFile(slots(root, "1"), nil, 0o600))
	journal := filepath.Join(root, "c", "ns", "id")
	must(t, os.MkdirAll(journal, 0o700))
	removeOldSlots(root)
	if _, err := os.Stat(slots(root, "1")); err != nil {
		t.Error("removed although a journal is left")
	}
	must(t, os.Remove(journal))
	removeOldSlots(root)
	if _, err := os.Stat(slots(root, "1")); err == nil {
		t.Error("not removed")
	}
}

// TestServerFile: launchers find what they look for.
func TestServerFile(t *testing.T) {
	root := t.TempDir()
	must(t, writeServerFile(&flags{root: root, socket: "/x/task.sock", gen: "5"}))
	data, err := os.ReadFile(serverFile(root))
	must(t, err)
	id, err := identity()
	must(t, err)
	for _, want := range []string{"identity=" + id + "\n", "address=unix:///x/task.sock\n", "generation=5\n", "pid=", "spawner="} {
		if !strings.Contains(string(data), want) {
			t.Errorf("%q is not in %q", want, data)
		}
	}
}

// TestUnknownVerb names the subcommands.
func TestUnknownVerb(t *testing.T) {
	if err := run([]string{"fly"}); err == nil || !strings.Contains(err.Error(), "boot, serve, agent, delete") {
		t.Errorf("got %v", err)
	}
}

// TestListenReplaces a dead socket: only the launcher, which holds the
// instance's lock, has a server started.
func TestListenReplaces(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	dead, err := net.Listen("unix", path)
	must(t, err)
	dead.(*net.UnixListener).SetUnlinkOnClose(false)
	dead.Close()
	l, err := shim.Listen(path)
	must(t, err)
	l.Close()
}
