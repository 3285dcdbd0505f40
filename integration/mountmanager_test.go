// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/oci"

	"foundry/integration/env"
)

// TestMountManager: root file systems in images. What containerd's mount
// manager makes of them it makes before the create, because the launcher says
// that it leaves all to it; what is left for us may still be in a file.
func TestMountManager(t *testing.T) {
	requireFoundry(t)
	d := env.Containerd(t, env.Config{})
	dir := t.TempDir()
	tree := rootTree(t, dir)
	erofs, ext4 := filepath.Join(dir, "root.erofs"), filepath.Join(dir, "root.ext4")
	command(t, "mkfs.erofs", "--quiet", erofs, tree)
	command(t, "mkfs.ext4", "-q", "-d", tree, ext4, "16M")
	rw := d.Dir + "/root/rw" // the manager makes directories below containerd's own only
	if err := os.Mkdir(rw, 0o700); err != nil {
		t.Fatal(err)
	}
	lower := mount.Mount{Type: "erofs", Source: erofs, Options: []string{"ro", "loop"}}
	for _, tt := range []struct {
		name   string
		mounts []mount.Mount
	}{
		{"FileForUs", []mount.Mount{{Type: "ext4", Source: ext4, Options: []string{"loop"}}}},
		{"ImageBelowDirectory", []mount.Mount{lower, overlay("{{ mount 0 }}", rw)}},
		{"ImageBelowImage", []mount.Mount{{Type: "mkfs/ext4", Source: rw + ".ext4",
			Options: []string{"X-containerd.mkfs.fs=ext4", "X-containerd.mkfs.size=16MiB", "rw", "loop"}},
			lower, overlay("{{ mount 1 }}", "{{ mount 0 }}")}},
	} {
		story{tt.name, func(t *testing.T, d *env.Daemon) {
			// and the device that made its root is no longer for it
			want := "from the image\nwritten\nsh: can't open /l: Operation not permitted\n"
			if got := runOn(t, d, tt.mounts); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			env.Eventually(t, "the loop devices are free", func() bool { return len(loopDevices(dir)) == 0 })
		}}.run(t, d)
	}
	for _, s := range d.Servers() {
		if strings.Contains(s.Log(), "level=ERROR") {
			t.Errorf("the server complains:\n%s", s.Log())
		}
	}
}

// overlay is what the erofs snapshotter asks for on top of its layers.
func overlay(lower, rw string) mount.Mount {
	return mount.Mount{Type: "format/mkdir/overlay", Source: "overlay", Options: []string{
		"X-containerd.mkdir.path=" + rw + "/upper:0755", "X-containerd.mkdir.path=" + rw + "/work:0755",
		"upperdir=" + rw + "/upper", "workdir=" + rw + "/work", "lowerdir=" + lower}}
}

// runOn runs a container with these mounts for a root, and returns its output.
func runOn(t *testing.T, d *env.Daemon, mounts []mount.Mount) string {
	t.Helper()
	ctx, id := d.Context(t), strings.ToLower(filepath.Base(t.Name()))
	c, err := d.Client.NewContainer(ctx, id, client.WithRuntime(env.Runtime(), nil), client.WithNewSpec(oci.WithDefaultSpec(),
		oci.WithProcessArgs("/bin/busybox", "sh", "-c", "cat /data; echo written > /new && cat /new; mknod /l c 10 237 && : < /l"),
		env.WithinOurRights))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Delete(ctx)
	out := &env.Output{}
	task, err := c.NewTask(ctx, cio.NewCreator(cio.WithStreams(nil, out, out), cio.WithFIFODir(d.Dir+"/io")), client.WithRootFS(mounts))
	if err != nil {
		t.Fatalf("create: %v", err)
	}
	exit, err := task.Wait(ctx)
	if err == nil {
		err = task.Start(ctx)
	}
	if err == nil {
		env.Wait(t, exit)
	}
	if _, derr := task.Delete(ctx, client.WithProcessKill); err != nil || derr != nil {
		t.Fatalf("run: %v, delete: %v", err, derr)
	}
	return out.String()
}

// rootTree is a directory to make images of.
func rootTree(t *testing.T, dir string) string {
	t.Helper()
	tree := filepath.Join(dir, "tree")
	for _, d := range []string{"bin", "proc", "sys", "dev", "run"} {
		if err := os.MkdirAll(filepath.Join(tree, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	command(t, "cp", "/bin/busybox", filepath.Join(tree, "bin/busybox"))
	if err := os.Symlink("busybox", filepath.Join(tree, "bin/cat")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tree, "data"), []byte("from the image\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return tree
}

func command(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
}

// loopDevices lists those that are bound to files below dir.
func loopDevices(dir string) (found []string) {
	files, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && strings.HasPrefix(string(b), dir) {
			found = append(found, f)
		}
	}
	return found
}
