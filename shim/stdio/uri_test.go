// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"reflect"
	"strings"
	"testing"
)

func TestParseURI(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want target
		err  string
	}{
		{in: "", want: target{}},
		{in: "/run/x/stdout", want: target{kind: kindPath, path: "/run/x/stdout"}},
		{in: "/odd%zz?a=b#c d", want: target{kind: kindPath, path: "/odd%zz?a=b#c d"}},
		{in: "fifo:///run/x", want: target{kind: kindPath, path: "/run/x"}},
		{in: "file:///var/log/a%20b", want: target{kind: kindFile, path: "/var/log/a b"}},
		{in: "file:/var/log/a", want: target{kind: kindFile, path: "/var/log/a"}},
		{in: "binary:///bin/log", want: target{kind: kindBinary, path: "/bin/log"}},
		{in: "binary:///bin/log?z=1&a=2&m", want: target{kind: kindBinary, path: "/bin/log", args: []string{"z", "1", "a", "2", "m", ""}}},
		{in: "binary:///bin/log?_NERDCTL_INTERNAL_LOGGING=%2Fvar%2Flib%2Fnerdctl", want: target{kind: kindBinary, path: "/bin/log",
			args: []string{"_NERDCTL_INTERNAL_LOGGING", "/var/lib/nerdctl"}}},
		{in: "binary:///bin/log?k=1&k=2", want: target{kind: kindBinary, path: "/bin/log", args: []string{"k", "1"}}},
		{in: "binary-v2:///bin/log?k=v", want: target{kind: kindBinaryV2, path: "/bin/log", args: []string{"k", "v"}}},
		{in: "run/x", err: "not an absolute path"},
		{in: "/a\x00b", err: "NUL"},
		{in: "file:///a%00b", err: "NUL"},
		{in: "binary:///a?k=%00", err: "NUL"},
		{in: "binary:///a?k=%z", err: "invalid URL escape"},
		{in: "file://var/log", err: `host "var" before the path (write file:///path)`},
		{in: "binary://nerdctl?a=b", err: "host"},
		{in: "binary:nerdctl", err: "no absolute path"},
		{in: "file://", err: "no absolute path"},
		{in: "fifo:///", err: "no absolute path"},
		{in: "npipe:////./pipe/x", err: "scheme npipe not supported (use fifo"},
		{in: "ttrpc+unix:///run/s?streaming_id=x-stdout", err: "scheme ttrpc+unix not supported"},
		{in: "://", err: "missing protocol scheme"},
	} {
		got, err := parseURI(tt.in)
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("parseURI(%q): got error %v, want %q", tt.in, err, tt.err)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("parseURI(%q): got %+v, %v, want %+v", tt.in, got, err, tt.want)
		}
	}
}

func FuzzParseURI(f *testing.F) {
	for _, s := range []string{"", "/a", "fifo:///a", "file:///a%20b", "binary:///a?k=v&x", "binary-v2:///a?=", "file://h/a", "a:b", "%", "binary:///a?%zz"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := parseURI(s)
		if err != nil {
			if !reflect.DeepEqual(got, target{}) {
				t.Errorf("%q: error %v and target %+v", s, err, got)
			}
			return
		}
		if (got.kind == kindNull) != (s == "") {
			t.Errorf("%q: kind %d", s, got.kind)
		}
		if s != "" && got.path[0] != '/' {
			t.Errorf("%q: path %q is not absolute", s, got.path)
		}
		if len(got.args)%2 != 0 || len(got.args) > 0 && !got.program() {
			t.Errorf("%q: args %q", s, got.args)
		}
		for _, v := range append(got.args, got.path) {
			if strings.IndexByte(v, 0) >= 0 {
				t.Errorf("%q: NUL in %q", s, v)
			}
		}
	})
}
