// SPDX-License-Identifier: Apache-2.0

package spawn

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// The list of an overlay's layers outgrows what fsconfig(2) takes.
func TestOverlayOfManyLayers(t *testing.T) {
	w := newWorld(t, 4)
	c := newContainer(t, "sh", "-c", "cat /merged/f0 /merged/f7 && grep -q ' /merged ro,nosuid.* - overlay ' /proc/self/mountinfo")
	base := filepath.Join(t.TempDir(), strings.Repeat("d", 100))
	var layers []string
	for i := range 8 {
		dir := filepath.Join(base, string(rune('0'+i)))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "f"+filepath.Base(dir)), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		layers = append(layers, dir)
	}
	c.spec.Mounts = append(c.spec.Mounts, specs.Mount{Destination: "/merged", Type: "overlay", Source: "overlay",
		Options: []string{"ro", "nosuid", "lowerdir=" + strings.Join(layers, ":")}})
	p := w.spawn(c.plan(t), nil, nil, nil)
	w.reach(p, PointReady)
	if err := p.Go(); err != nil {
		t.Fatal(err)
	}
	w.reach(p, PointExec)
	if e := w.exit(p); e.Status != 0 {
		t.Errorf("got status %d, want 0: both files and the mount's flags", e.Status)
	}
}
