// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// sharedDir is a directory of the host's on a mount of its own, which is shared as all mounts
// are where systemd runs.
func (w *world) sharedDir(name string) string {
	w.t.Helper()
	dir := filepath.Join(w.dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64m"); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { // before the place looks for what is left
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			w.t.Error(err)
		}
	})
	if err := unix.Mount("", dir, "", unix.MS_SHARED, ""); err != nil {
		w.t.Fatal(err)
	}
	return dir
}

// What the stage mounts for the root stays in the container, also where the root's mounts are to be
// shared: CRI wants that for a volume with Bidirectional propagation. In that volume the container
// mounts on the host, unless it has users of its own.
func TestSharedVolume(t *testing.T) {
	for _, users := range []bool{false, true} {
		t.Run(fmt.Sprint("users ", users), func(t *testing.T) {
			w := newWorld(t)
			bundles, volume := w.sharedDir("bundles"), w.sharedDir("volume")
			if err := os.Chmod(volume, 0o777); err != nil {
				t.Fatal(err)
			}
			spec := w.spec("shared", "sh", "-c", "mkdir /run/volume/a && mount -t tmpfs in /run/volume/a && touch /run/volume/a/done; exec sleep 60")
			spec.Linux.RootfsPropagation = "rshared"
			spec.Mounts = append(spec.Mounts, specs.Mount{Destination: "/run/volume", Source: volume, Type: "bind", Options: []string{"rbind", "rshared"}})
			for _, set := range []*[]string{&spec.Process.Capabilities.Bounding, &spec.Process.Capabilities.Effective, &spec.Process.Capabilities.Permitted} {
				*set = append(*set, "CAP_SYS_ADMIN")
			}
			want := []string{volume, volume + "/a"}
			if users {
				withUsers(spec)
				want = want[:1]
			}
			b := w.create("shared", spec)
			if err := b.Start(ctx(t)); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the container's mount", func() bool {
				e, _ := b.exec("stat", "/run/volume/a/done")
				return e.Status == 0
			})
			if got := mountPoints(t, bundles); !slices.Equal(got, []string{bundles}) {
				t.Errorf("the root's mount is on the host: %v", got)
			}
			if got := mountPoints(t, volume); !slices.Equal(got, want) {
				t.Errorf("volume: got %v, want %v", got, want)
			}
			if !users {
				if err := unix.Unmount(volume+"/a", unix.MNT_DETACH); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func mountPoints(t testing.TB, dir string) []string {
	t.Helper()
	points, err := mountsBelow(dir)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(points)
	return points
}
