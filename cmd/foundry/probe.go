// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// syscallThere asks for system calls with arguments that none accepts.
func syscallThere(numbers ...uintptr) func() (string, bool) {
	return func() (string, bool) {
		for _, n := range numbers {
			const bad = ^uintptr(0)
			if _, _, errno := unix.Syscall6(n, bad, 0, 0, bad, 0, 0); errno == unix.ENOSYS {
				return "system call " + strconv.Itoa(int(n)) + " is not there", false
			}
		}
		return "there", true
	}
}

func pidfd() (string, bool) {
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return "pidfd_open: " + err.Error(), false
	}
	defer unix.Close(fd)
	if err := unix.PidfdSendSignal(fd, 0, nil, 0); err != nil {
		return "pidfd_send_signal: " + err.Error(), false
	}
	return "there", true
}

// seccomp asks whether filters may return an action.
func seccomp(action uint32) func() (string, bool) {
	return func() (string, bool) {
		const getActionAvail = 2
		if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, getActionAvail, 0, uintptr(unsafe.Pointer(&action))); errno != 0 {
			return errno.Error(), false
		}
		return "there", true
	}
}

// capability asks whether we, and so probably containerd, may hold one.
func capability(n int) func() (string, bool) {
	return func() (string, bool) {
		text, err := os.ReadFile("/proc/self/status")
		if err != nil {
			return missing(err), false
		}
		for line := range strings.Lines(string(text)) {
			if value, ok := strings.CutPrefix(line, "CapEff:"); ok {
				set, _ := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
				if set>>n&1 == 0 {
					return "not among ours", false
				}
				return "among ours", true
			}
		}
		return "unknown", false
	}
}

func fsType(dir string) string {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return "not there"
	}
	for magic, name := range map[int64]string{
		unix.EXT4_SUPER_MAGIC: "ext4", unix.XFS_SUPER_MAGIC: "xfs", unix.BTRFS_SUPER_MAGIC: "btrfs", unix.TMPFS_MAGIC: "tmpfs",
		unix.OVERLAYFS_SUPER_MAGIC: "overlay", unix.F2FS_SUPER_MAGIC: "f2fs", unix.EROFS_SUPER_MAGIC_V1: "erofs",
	} {
		if int64(st.Type) == magic {
			return name
		}
	}
	return fmt.Sprintf("type %#x", st.Type)
}

// idmapped tries an id-mapped clone of dir's mount, which is attached nowhere
// and gone with its descriptor. It needs a user namespace: that of a child
// which waits for its stdin to end.
func idmapped(dir string) func() (string, bool) {
	return func() (string, bool) {
		if os.Geteuid() != 0 {
			return "only root can try", false
		}
		if err := tryIdmap(dir); err != nil {
			return err.Error(), false
		}
		return "works", true
	}
}

func tryIdmap(dir string) error {
	child := exec.Command("/bin/cat")
	stdin, err := child.StdinPipe()
	if err != nil {
		return err
	}
	child.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 100000, Size: 65536}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 100000, Size: 65536}},
	}
	if err := child.Start(); err != nil {
		return fmt.Errorf("make user namespace: %w", err)
	}
	defer func() {
		stdin.Close()
		_ = child.Wait() // it has done its part by being there
	}()
	users, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", child.Process.Pid))
	if err != nil {
		return err
	}
	defer users.Close()
	tree, err := unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return fmt.Errorf("open_tree %s: %w", dir, err)
	}
	defer unix.Close(tree)
	attr := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(users.Fd())}
	if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, attr); err != nil {
		return fmt.Errorf("mount_setattr: %w", err)
	}
	return nil
}

// xdp loads the smallest program there is, which drops nothing: it is
// attached nowhere.
func xdp() (string, bool) {
	program := [2]uint64{0x2_0000_00b7, 0x95} // r0 = XDP_PASS; exit
	license := []byte("GPL\x00")
	attr := struct {
		kind, count      uint32
		insns, license   uint64
		level, size      uint32
		log              uint64
		version, flags   uint32
		name             [16]byte
		ifindex, expects uint32
	}{kind: 6, count: 2, insns: uint64(uintptr(unsafe.Pointer(&program))), license: uint64(uintptr(unsafe.Pointer(&license[0])))}
	const load = 5
	fd, _, errno := unix.Syscall(unix.SYS_BPF, load, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	if errno != 0 {
		if errors.Is(errno, unix.EPERM) {
			return "programs may not be loaded", false
		}
		return errno.Error(), false
	}
	unix.Close(int(fd))
	return "programs load", true
}
