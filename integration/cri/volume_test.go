// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"foundry/integration/env"
)

func TestVolumes(t *testing.T) {
	tell(t, all, story{"Host", hostVolumes, "TestUsers has volumes of both kinds"},
		story{"Recursive", recursiveReadOnly, ""},
		story{"Propagation", propagation, ""},
		story{"Image", imageVolumes, ""})
}

// mounts is a change to a container.
func mounts(m ...*runtimeapi.Mount) func(*runtimeapi.ContainerConfig) {
	return func(c *runtimeapi.ContainerConfig) { c.Mounts = m }
}

func hostVolumes(t *testing.T, n *node) {
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/file", []byte("text\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := n.pod(t).sleeper(t, mounts(
		&runtimeapi.Mount{ContainerPath: "/rw", HostPath: dir},
		&runtimeapi.Mount{ContainerPath: "/ro", HostPath: dir, Readonly: true},
		&runtimeapi.Mount{ContainerPath: "/etc/file", HostPath: dir + "/file"},
	))
	c.expect(t, "echo new > /rw/new; cat /ro/new /etc/file; touch /ro/x 2>&1; true", "new\ntext\ntouch: /ro/x: Read-only file system")
	if b, err := os.ReadFile(dir + "/new"); string(b) != "new\n" {
		t.Errorf("written in the container: got %q, %v", b, err)
	}
}

// tree is a directory with another file system in it, both gone at the end of
// the test. What is mounted there later is seen in peers if it is shared.
func tree(t *testing.T, propagation uintptr) string {
	t.Helper()
	dir := t.TempDir()
	below := filepath.Join(dir, "below")
	for _, m := range []struct {
		target string
		flags  uintptr
	}{{dir, 0}, {below, 0}, {dir, unix.MS_REC | propagation}} {
		if err := os.MkdirAll(m.target, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount("tmpfs", m.target, "tmpfs", m.flags, ""); err != nil {
			t.Fatalf("mount %s: %v", m.target, err)
		}
	}
	t.Cleanup(func() {
		for _, target := range []string{below, dir} {
			if err := unix.Unmount(target, unix.MNT_DETACH); err != nil {
				t.Errorf("unmount %s: %v", target, err)
			}
		}
	})
	return dir
}

func recursiveReadOnly(t *testing.T, n *node) {
	dir := tree(t, unix.MS_PRIVATE)
	c := n.pod(t).sleeper(t, mounts(
		&runtimeapi.Mount{ContainerPath: "/ro", HostPath: dir, Readonly: true},
		&runtimeapi.Mount{ContainerPath: "/rro", HostPath: dir, Readonly: true, RecursiveReadOnly: true},
	))
	c.expect(t, "touch /ro/x 2>&1; touch /ro/below/x && echo below; touch /rro/x 2>&1; touch /rro/below/x 2>&1; true",
		"touch: /ro/x: Read-only file system\nbelow\ntouch: /rro/x: Read-only file system\ntouch: /rro/below/x: Read-only file system")
}

func propagation(t *testing.T, n *node) {
	dir := tree(t, unix.MS_SHARED)
	p := n.pod(t, func(c *runtimeapi.PodSandboxConfig) { c.Linux.SecurityContext.Privileged = true })
	c := p.sleeper(t, func(c *runtimeapi.ContainerConfig) {
		c.Linux.SecurityContext.Privileged = true
		c.Mounts = []*runtimeapi.Mount{
			{ContainerPath: "/private", HostPath: dir},
			{ContainerPath: "/slave", HostPath: dir, Propagation: runtimeapi.MountPropagation_PROPAGATION_HOST_TO_CONTAINER},
			{ContainerPath: "/shared", HostPath: dir, Propagation: runtimeapi.MountPropagation_PROPAGATION_BIDIRECTIONAL},
		}
	})
	later := dir + "/below"
	if err := unix.Mount("tmpfs", later, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(later, unix.MNT_DETACH) })
	if err := os.WriteFile(later+"/later", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c.expect(t, "ls /private/below; ls /slave/below /shared/below | tr '\\n' ' '", "/shared/below: later  /slave/below: later")
	c.expect(t, "mkdir /slave/s /shared/b; for d in /slave/s /shared/b; do mount -t tmpfs none $d && touch $d/inside; done; ls $d", "inside")
	if _, err := os.Stat(dir + "/s/inside"); err == nil {
		t.Error("mounted in the container, below what goes one way, and seen on the node")
	}
	_, err := os.Stat(dir + "/b/inside")
	if n.users { // whose mounts are their own
		if err == nil {
			t.Error("mounted by a user namespace, and seen on the node")
		}
		return
	}
	if err != nil {
		t.Errorf("mounted in the container, below what goes both ways: %v", err)
	}
	c.expect(t, "ls /slave/b", "inside")
	if err := unix.Unmount(dir+"/b", unix.MNT_DETACH); err != nil {
		t.Errorf("unmount what the container mounted: %v", err)
	}
}

// imageVolumes: an image's files, read-only, or a part of them.
func imageVolumes(t *testing.T, n *node) {
	c := n.pod(t).sleeper(t, mounts(
		&runtimeapi.Mount{ContainerPath: "/data", Image: &runtimeapi.ImageSpec{Image: dataImage}, Readonly: true},
		&runtimeapi.Mount{ContainerPath: "/part", Image: &runtimeapi.ImageSpec{Image: dataImage}, ImageSubPath: "home", Readonly: true},
	))
	c.expect(t, "cat /data/home/data.txt /part/data.txt", trim(dataText+dataText))
	c.expect(t, "touch /data/x 2>&1; true", "touch: /data/x: Read-only file system")
	env.Eventually(t, "the image is seen mounted", func() bool { return len(c.status(t).Mounts) == 2 })
}
