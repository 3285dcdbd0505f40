// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	runc "github.com/containerd/containerd/api/types/runc/options"
	runtimeoptions "github.com/containerd/containerd/api/types/runtimeoptions/v1"
	"google.golang.org/protobuf/types/known/anypb"

	"foundry/runtime/oci"
	"foundry/shim/stdio"
)

func withDefaults(change func(*options)) options {
	o := defaultOptions()
	change(&o)
	return o
}

func tomlOptions(text string) *anypb.Any {
	return mustBare(&runtimeoptions.Options{ConfigBody: []byte(text)})
}

func TestParseOptions(t *testing.T) {
	file := filepath.Join(t.TempDir(), "options.toml")
	must(t, os.WriteFile(file, []byte("NoPivotRoot = true\n"), 0o600))
	for _, test := range []struct {
		name string
		any  *anypb.Any
		want func(*options)
	}{
		{"none", nil, func(*options) {}},
		{"empty", &anypb.Any{}, func(*options) {}},
		{"runc", mustBare(&runc.Options{NoPivotRoot: true, IoUid: 5, IoGid: 6}),
			func(o *options) { o.NoPivotRoot, o.UID, o.GID = true, 5, 6 }},
		{"runc's own", mustBare(&runc.Options{BinaryName: "crun", CriuImagePath: "/x"}), func(o *options) {
			o.Remarks = []string{
				"option BinaryName means nothing here: No OCI program is executed.",
				"option CriuImagePath means nothing here: Where a checkpoint goes is in the request for it.",
			}
		}},
		{"TOML", tomlOptions("BinaryName = \"\"\n# NoPivotRoot = true\n  NoNewKeyring = true\nIoUid = 7\nLogRing = 0\nLogLoss = 'full'\nLogMark = true\nExecOrphanTimeout = 90\n"),
			func(o *options) {
				o.NoNewKeyring, o.UID, o.ExecOrphan = true, 7, 90*time.Second
				o.Backlog = stdio.Backlog{Loss: stdio.LossFull, Mark: true}
			}},
		{"unknown", tomlOptions("LogRings = 5\n[runtimes]\nIoGid = 8\n"), func(o *options) {
			o.Remarks = []string{`option "LogRings" is not known (docs/options.md has the list)`,
				`option "runtimes" is not known (docs/options.md has the list)`}
		}},
		{"file", mustBare(&runtimeoptions.Options{ConfigPath: file}), func(o *options) { o.NoPivotRoot = true }},
	} {
		got, err := parseOptions(test.any)
		if want := withDefaults(test.want); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v, want %+v", test.name, got, err, want)
		}
	}
}

func TestParseOptionsRefuses(t *testing.T) {
	for _, test := range []struct {
		any  *anypb.Any
		want string
	}{
		{&anypb.Any{TypeUrl: "containerd.runc.v1.CheckpointOptions"}, `options of type "containerd.runc.v1.CheckpointOptions"`},
		{&anypb.Any{TypeUrl: "types.googleapis.com/containerd.runc.v1.Options", Value: []byte{0xff}}, "options: "},
		{tomlOptions("#" + strings.Repeat("x", maxOptions)), "options: 65536 bytes of TOML are the most"},
		{tomlOptions("IoUid = x"), "options: parse TOML: "},
		{tomlOptions("IoUid = 'root'"), "options: IoUid: want an integer, got string root"},
		{tomlOptions("NoPivotRoot = 1"), "options: NoPivotRoot: want true or false, got int64 1"},
		{tomlOptions("[IoGid]"), "options: IoGid: want an integer, got map"},
		{tomlOptions("LogRing = -1"), "options: LogRing: want 0 to 67108864, got -1"},
		{tomlOptions("LogLoss = 'always'"), `options: LogLoss: want absent, full, never, got "always"`},
		{mustBare(&runtimeoptions.Options{ConfigPath: "/no/such/file"}), "options: open /no/such/file: no such file"},
	} {
		if _, err := parseOptions(test.any); !errors.Is(err, errBadRequest) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("got %v, want %q", err, test.want)
		}
	}
}

func TestAnnotations(t *testing.T) {
	o := withDefaults(func(o *options) { o.ExecOrphan = time.Hour })
	must(t, o.annotate(map[string]string{"foundry.log.ring": "65536", "foundry.log.loss": "never", "foundry.log.mark": "true", "other": "x"}))
	if want := (options{Backlog: stdio.Backlog{Bytes: 65536, Loss: stdio.LossNever, Mark: true}, ExecOrphan: time.Hour}); !reflect.DeepEqual(o, want) {
		t.Errorf("got %+v, want %+v", o, want)
	}
	err := o.annotate(map[string]string{"foundry.log.ring": "1M"})
	if want := `config.json: annotations["foundry.log.ring"]: want an integer, got string 1M`; !errors.Is(err, errBadRequest) || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
}

// Every annotation is in the parser's list, or it would be called misspelt.
func TestAnnotationsAreKnown(t *testing.T) {
	var known []string
	for _, a := range oci.Annotations() {
		known = append(known, a.Name)
	}
	for _, o := range OptionTable() {
		if o.Annotation != "" && !slices.Contains(known, o.Annotation) {
			t.Errorf("oci.Annotations lacks %s", o.Annotation)
		}
	}
}
