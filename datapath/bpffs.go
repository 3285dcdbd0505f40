// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// BPFFS is where a bpffs is on every host: systemd mounts it there, and so do
// the loaders of other programs that find none.
const BPFFS = "/sys/fs/bpf"

// MountBPFFS mounts a bpffs at BPFFS where nothing is mounted yet, as systemd
// does. What is mounted there is left alone, whatever it is.
func MountBPFFS() error {
	var s unix.Statfs_t
	if err := unix.Statfs(BPFFS, &s); err != nil {
		return fmt.Errorf("mount bpffs: %w (needs a kernel with CONFIG_BPF_SYSCALL, and /sys)", &os.PathError{Op: "statfs", Path: BPFFS, Err: err})
	}
	if s.Type != unix.SYSFS_MAGIC {
		return nil
	}
	if err := unix.Mount("bpf", BPFFS, "bpf", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC|unix.MS_RELATIME, "mode=0700"); err != nil {
		return fmt.Errorf("mount bpffs: %w (needs CAP_SYS_ADMIN; or mount -t bpf bpf %s before)", &os.PathError{Op: "mount", Path: BPFFS, Err: err}, BPFFS)
	}
	return nil
}
