// SPDX-License-Identifier: Apache-2.0

package spawn

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// openNull opens the /dev/null that stands in for a stream. A process that has
// a descriptor of the host's own node may change that node's mode, owner and
// times: root in a container could take /dev/null from everybody else. So it is
// opened through a read-only mount that nobody can reach by name, which holds
// such changes back and still lets a device be written to.
func openNull() (*os.File, error) {
	tree, err := unix.OpenTree(unix.AT_FDCWD, os.DevNull, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if errors.Is(err, unix.EPERM) { // who may not mount makes no containers
		return os.OpenFile(os.DevNull, os.O_RDWR, 0)
	}
	if err != nil {
		return nil, fmt.Errorf("copy the mount of %s: %w", os.DevNull, err)
	}
	defer unix.Close(tree)
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NOEXEC}
	if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		return nil, fmt.Errorf("make a copy of the mount of %s read-only: %w", os.DevNull, err)
	}
	f, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", tree), os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("open a copy of %s: %w", os.DevNull, err)
	}
	return f, nil
}
