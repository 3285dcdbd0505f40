// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"foundry/runtime/oci"
)

// The annotation foundry.exit says when pid 1 ends, and needs a pid 1.
func TestExitAnnotation(t *testing.T) {
	for _, tt := range []struct {
		value, pid string // path of the pid namespace, "none" without one
		want       uint16
		err        string
	}{
		{"", "", 0, ""},
		{"main", "", 0, ""},
		{"descendants", "", FlagInit | FlagStay, ""},
		{"descendants", "none", 0, "needs a pid namespace of the container's own"},
		{"descendants", "/proc/1/ns/pid", 0, "needs a pid namespace of the container's own"},
		{"never", "", 0, `"never" is neither main nor descendants`},
	} {
		spec := &specs.Spec{Annotations: map[string]string{oci.ExitAnnotation: tt.value}, Linux: &specs.Linux{}}
		if tt.pid != "none" {
			spec.Linux.Namespaces = []specs.LinuxNamespace{{Type: specs.PIDNamespace, Path: tt.pid}}
		}
		b := &builder{spec: spec}
		got := b.exitFlags()
		if tt.err == "" && (b.err != nil || got != tt.want) {
			t.Errorf("%q: got %d, %v, want %d", tt.value, got, b.err, tt.want)
		}
		if tt.err != "" && (b.err == nil || !strings.Contains(b.err.Error(), tt.err)) {
			t.Errorf("%q: got %v, want %q", tt.value, b.err, tt.err)
		}
	}
}
