// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	task "github.com/containerd/containerd/api/runtime/task/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"foundry/runtime"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestAskServer: what a server answers, and what its absence means.
func TestAskServer(t *testing.T) {
	for _, test := range []struct{ says, want, err string }{
		{"ok\n\x08\x07", "\x08\x07", ""},
		{"none\n", "", ""},
		{"error no way\n", "", `ask server to delete "c": no way`},
		{"", "", ""},
	} {
		root := t.TempDir()
		l, err := net.Listen("unix", filepath.Join(root, "control.sock"))
		must(t, err)
		asked := make(chan string, 1)
		go func() {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			buf := make([]byte, 100)
			n, _ := conn.Read(buf)
			asked <- string(buf[:n])
			conn.Write([]byte(test.says))
			conn.Close()
		}()
		got, err := (&container{root: root, namespace: "ns", id: "c"}).askServer(t.Context())
		if string(got) != test.want || (err == nil) != (test.err == "") || err != nil && err.Error() != test.err {
			t.Errorf("%q: got %q, %v", test.says, got, err)
		}
		if q := <-asked; q != "delete ns c\n" {
			t.Errorf("asked %q", q)
		}
		l.Close()
	}
	if got, err := (&container{root: t.TempDir(), namespace: "ns", id: "c"}).askServer(t.Context()); got != nil || err != nil {
		t.Errorf("no server: %q, %v", got, err)
	}
}

// TestResponse: what we write is what the generated message would.
func TestResponse(t *testing.T) {
	for _, e := range []runtime.Exit{
		{Pid: 7, Status: 137, At: time.Unix(1700000000, 123456789)},
		{At: time.Unix(1, 0)},
		{Pid: 1 << 22, Status: 255, At: time.Unix(0, 999)},
	} {
		want := &task.DeleteResponse{Pid: uint32(e.Pid), ExitStatus: uint32(e.Status), ExitedAt: timestamppb.New(e.At)}
		got := &task.DeleteResponse{}
		if err := proto.Unmarshal(response(e), got); err != nil || !proto.Equal(got, want) {
			t.Errorf("got %v, %v, want %v", got, err, want)
		}
	}
}

// TestRun: with what a launcher passes, from the files that there are.
func TestRun(t *testing.T) {
	bundle := t.TempDir()
	args := []string{"-namespace", "ns", "-id", "c", "-address", "/a", "-publish-binary", "/p", "-bundle", bundle, "-debug", "-root", t.TempDir()}
	var out bytes.Buffer
	must(t, run(args, &out)) // nothing is known of it
	got := &task.DeleteResponse{}
	if err := proto.Unmarshal(out.Bytes(), got); err != nil || got.ExitStatus != 137 || time.Since(got.ExitedAt.AsTime()) > time.Minute {
		t.Errorf("got %v, %v, want status 137, now", got, err)
	}
	must(t, os.WriteFile(filepath.Join(bundle, exitFile), []byte("recorded"), 0o600))
	out.Reset()
	must(t, run(args, &out))
	if out.String() != "recorded" {
		t.Errorf("got %q, want what the server has left", &out)
	}
	for want, args := range map[string][]string{
		"delete: no -namespace or -id":                         {"-namespace", "ns"},
		"read command line: flag provided but not defined: -x": {"-x"},
	} {
		if err := run(args, &out); err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", args, err, want)
		}
	}
}
