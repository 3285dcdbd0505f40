// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/hex"
	"hash/fnv"
	"os/exec"
	"strings"
	"testing"

	bootapi "github.com/containerd/containerd/api/runtime/bootstrap/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

func TestParseArgs(t *testing.T) {
	tests := []struct {
		line string
		want args
		err  string
	}{
		{"-namespace n -address a -publish-binary p -id i start", args{namespace: "n", address: "a", publish: "p", id: "i", action: "start"}, ""},
		{"--id=i -bundle=/b -debug delete", args{id: "i", bundle: "/b", debug: true, action: "delete"}, ""},
		{"-debug=false -id -x start", args{id: "-x", action: "start"}, ""},
		{"start -id i", args{action: "start"}, ""}, // as package flag: flags end at the first word
		{"-id", args{}, "flag -id needs a value"},
		{"-colour red start", args{}, "no flag -colour"},
		{"-v", args{version: true}, ""},
	}
	for _, tt := range tests {
		got, err := parseArgs(strings.Fields(tt.line))
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%s: got %v, want %q", tt.line, err, tt.err)
			}
			continue
		}
		if err != nil || *got != tt.want {
			t.Errorf("%s: got %+v, %v, want %+v", tt.line, got, err, tt.want)
		}
	}
}

func TestHashIsFNV1a(t *testing.T) {
	for _, words := range [][]string{{"", "", ""}, {"/run/containerd/containerd.sock", "mnt:[4026531841]", "net:[4026531840]"}} {
		h := fnv.New128a()
		for _, w := range words {
			h.Write([]byte(w + "\x00"))
		}
		if got, want := hash128(words...), hex.EncodeToString(h.Sum(nil)); got != want {
			t.Errorf("hash of %q: got %s, want %s", words, got, want)
		}
	}
	if hash128("ab", "c") == hash128("a", "bc") {
		t.Error("two lists of words have one hash")
	}
}

func TestValue(t *testing.T) {
	text := []byte("pid=7\nidentity=1:2\nx\naddress=unix:///a=b")
	for key, want := range map[string]string{"pid": "7", "identity": "1:2", "address": "unix:///a=b", "x": "", "add": ""} {
		if got := value(text, key); got != want {
			t.Errorf("%s: got %q, want %q", key, got, want)
		}
	}
}

// The launcher is executed twice for each container: its weight is its imports.
func TestLauncherImportsNextToNothing(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-f", "{{.ImportPath}}", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range strings.Fields(string(out)) {
		switch p {
		case "os", "fmt", "net", "reflect", "encoding/json", "time", "strings", "strconv", "unicode":
			t.Errorf("the launcher imports %s", p)
		}
		if strings.Contains(p, ".") {
			t.Errorf("the launcher imports %s, which is not of the standard library", p)
		}
	}
}

// FuzzBootstrap: what the real type accepts, the launcher reads alike.
func FuzzBootstrap(f *testing.F) {
	seed, _ := proto.Marshal(&bootapi.BootstrapParams{InstanceID: "i", Namespace: "n", LogLevel: -8, ContainerdGrpcAddress: "/g",
		ContainerdTtrpcAddress: "/t", ContainerdBinary: "/b", SocketDir: proto.String("/s"), Extensions: []*bootapi.Extension{{}}})
	f.Add(seed)
	group := protowire.AppendTag(append([]byte(nil), seed...), 77, protowire.StartGroupType)
	f.Add(protowire.AppendTag(protowire.AppendFixed32(protowire.AppendTag(group, 3, protowire.Fixed32Type), 9), 77, protowire.EndGroupType))
	f.Add([]byte{10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, stdin []byte) {
		want := &bootapi.BootstrapParams{}
		if proto.Unmarshal(stdin, want) != nil || len(stdin) == 0 {
			_, _ = bootstrap(stdin, &args{id: "i", namespace: "n"}) // it must only not panic
			return
		}
		got, err := bootstrap(stdin, &args{id: want.InstanceID, namespace: want.Namespace})
		if err != nil {
			t.Fatalf("%v, but the real type reads %v", err, want)
		}
		if got.legacy || got.address != want.ContainerdGrpcAddress || got.ttrpc != want.ContainerdTtrpcAddress ||
			got.binary != want.ContainerdBinary || got.socketDir != want.GetSocketDir() {
			t.Errorf("got %+v, want %v", got, want)
		}
	})
}
