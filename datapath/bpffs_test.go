// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"testing"

	"golang.org/x/sys/unix"

	"foundry/integration/env"
)

// What is mounted there already is left alone, be it a bpffs or not.
func TestMountBPFFS(t *testing.T) {
	env.RequireRoot(t)
	kind := func() int64 {
		t.Helper()
		var s unix.Statfs_t
		if err := unix.Statfs(BPFFS, &s); err != nil {
			t.Fatal(err)
		}
		return s.Type
	}
	for kind() != unix.SYSFS_MAGIC { // the mounts are this program's own
		if err := unix.Unmount(BPFFS, unix.MNT_DETACH); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := MountBPFFS(); err != nil {
			t.Fatal(err)
		}
		if kind() != unix.BPF_FS_MAGIC {
			t.Fatalf("got a file system of type %#x", kind())
		}
	}
	if err := unix.Unmount(BPFFS, 0); err != nil {
		t.Fatal(err)
	}
	if kind() != unix.SYSFS_MAGIC {
		t.Error("it was mounted twice")
	}
	if err := unix.Mount("tmpfs", BPFFS, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(BPFFS, 0)
	if err := MountBPFFS(); err != nil || kind() != unix.TMPFS_MAGIC {
		t.Errorf("over a tmpfs: got type %#x, %v", kind(), err)
	}
}
