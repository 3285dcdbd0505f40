// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// feature is something that containers may need of kernel or host.
type feature struct {
	name     string
	probe    func() (found string, ok bool)
	effect   string // of its absence
	fallback string // what is done instead, or what the operator can do
	vital    bool   // nothing works without it
}

// features are all that is looked at, in the order in which they are printed.
func features() []feature {
	return append(append(kernelFeatures(), cgroupFeatures()...), hostFeatures()...)
}

func kernelFeatures() []feature {
	return []feature{
		{"kernel", kernelVersion, "the server and its spawner use system calls of Linux 5.11", "a newer kernel", true},
		{"clone3", syscallThere(unix.SYS_CLONE3), "no process can be started", "Linux 5.3", true},
		{"pidfd", pidfd, "processes cannot be signalled and waited for without confusing them", "Linux 5.3", true},
		{"openat2", syscallThere(unix.SYS_OPENAT2), "paths in a container's root cannot be opened safely", "Linux 5.6", true},
		{"mount API", syscallThere(unix.SYS_FSOPEN, unix.SYS_OPEN_TREE, unix.SYS_MOVE_MOUNT), "no root can be made", "Linux 5.2", true},
		{"mount_setattr", syscallThere(unix.SYS_MOUNT_SETATTR), "recursive mount options (rro and the like) and id-mapped mounts fail", "Linux 5.12", false},
		{"overlayfs", filesystem("overlay"), "containerd's usual snapshotter does not work", "modprobe overlay, or another snapshotter", false},
		{"user namespaces", namespace("user", "/proc/sys/user/max_user_namespaces"), "containers with users of their own fail at create", "set user.max_user_namespaces", false},
		{"time namespaces", namespace("time", "/proc/sys/user/max_time_namespaces"), "containers with time offsets fail at create", "Linux 5.6", false},
		{"cgroup namespaces", namespace("cgroup", "/proc/sys/user/max_cgroup_namespaces"), "containers with a cgroup namespace fail at create", "Linux 4.6", false},
		{"id-mapped mounts on " + dataDir() + " (" + fsType(dataDir()) + ")", idmapped(dataDir()),
			"containers with users of their own need a root that already belongs to them", "containerd chowns a copy of each image", false},
		{"id-mapped mounts on /dev/shm (" + fsType("/dev/shm") + ")", idmapped("/dev/shm"),
			"volumes there cannot be shared with containers that have users of their own", "Linux 6.3 for tmpfs", false},
		{"seccomp", seccomp(unix.SECCOMP_RET_ERRNO), "containers with a seccomp profile, which most have, fail at create", "CONFIG_SECCOMP_FILTER", false},
		{"seccomp notify", seccomp(unix.SECCOMP_RET_USER_NOTIF), "profiles with SCMP_ACT_NOTIFY fail at create", "Linux 5.0", false},
		{"AppArmor or SELinux", lsm, "profiles and labels of either fail at create", "leave them out (containerd: disable_apparmor)", false},
		{"pressure", exists("/proc/pressure/cpu"), "no pressure in statistics and metrics", "boot with psi=1", false},
		{"XDP", xdp, "networks of Foundry have no fast path where frames arrive", "CONFIG_BPF_SYSCALL, CAP_BPF", false},
		{"tcx", since(6, 6), "networks of Foundry attach by clsact", "Linux 6.6", false},
	}
}

func hostFeatures() []feature {
	return []feature{
		{"root", func() (string, bool) { return "user " + strconv.Itoa(os.Geteuid()), os.Geteuid() == 0 },
			"containers need root", "run containerd, and this, as root", true},
		{"CAP_SYS_ADMIN", capability(unix.CAP_SYS_ADMIN), "no namespace can be made and nothing mounted", "give it to containerd", true},
		{"CAP_SYS_RESOURCE", capability(unix.CAP_SYS_RESOURCE),
			"an oom_score_adj below containerd's and limits above its own fail at create", "CRI: restrict_oom_score_adj; leave rlimits out of the spec", false},
		{"descriptors", openFiles, "the server needs about twelve for each container, the spawner as many", "raise LimitNOFILE of containerd", false},
		{"pid_max", pidMax, "all containers together share few process ids", "sysctl kernel.pid_max=4194304", false},
		{"criu", program("criu"), "checkpoint and restore fail", "install criu", false},
		{"systemd", systemdBus, "the systemd cgroup driver cannot be used; the server stays out of a scope", "the cgroupfs driver, which is the default", false},
		{"launcher", program("containerd-shim-foundry-v1"), "containerd does not find the runtime by its name, unless its PATH is another", "make install", false},
	}
}

func kernelRelease() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

func atLeast(major, minor int) bool {
	var a, b int
	if n, _ := fmt.Sscanf(kernelRelease(), "%d.%d", &a, &b); n != 2 {
		return false
	}
	return a > major || a == major && b >= minor
}

func kernelVersion() (string, bool) { return kernelRelease(), atLeast(5, 11) }

func since(major, minor int) func() (string, bool) {
	return func() (string, bool) {
		return fmt.Sprintf("Linux %d.%d has it", major, minor), atLeast(major, minor)
	}
}

func exists(path string) func() (string, bool) {
	return func() (string, bool) {
		f, err := os.Open(path)
		if err != nil {
			return missing(err), false
		}
		f.Close()
		return path, true
	}
}

// missing is why something is not there, in few words.
func missing(err error) string {
	if os.IsNotExist(err) {
		return "not there"
	}
	return err.Error()
}

func filesystem(name string) func() (string, bool) {
	return func() (string, bool) {
		text, _ := os.ReadFile("/proc/filesystems")
		for line := range strings.Lines(string(text)) {
			if strings.TrimSpace(strings.TrimPrefix(line, "nodev")) == name {
				return name, true
			}
		}
		return "not in /proc/filesystems", false
	}
}

func namespace(kind, limit string) func() (string, bool) {
	return func() (string, bool) {
		if _, err := os.Stat("/proc/self/ns/" + kind); err != nil {
			return missing(err), false
		}
		if text, err := os.ReadFile(limit); err == nil {
			n := strings.TrimSpace(string(text))
			return "at most " + n, n != "0"
		}
		return "there", true
	}
}

func lsm() (string, bool) {
	if text, _ := os.ReadFile("/sys/module/apparmor/parameters/enabled"); strings.HasPrefix(string(text), "Y") {
		return "AppArmor", true
	}
	if _, err := os.Stat("/sys/fs/selinux/enforce"); err == nil {
		return "SELinux", true
	}
	return "neither", false
}

func program(name string) func() (string, bool) {
	return func() (string, bool) {
		path, err := exec.LookPath(name)
		if err != nil {
			return "not on PATH", false
		}
		return path, true
	}
}

func openFiles() (string, bool) {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return err.Error(), false
	}
	const each, many = 12, 500
	return fmt.Sprintf("at most %d, so about %d containers", l.Max, l.Max/each), l.Max >= each*many
}

func pidMax() (string, bool) {
	text, err := os.ReadFile("/proc/sys/kernel/pid_max")
	if err != nil {
		return missing(err), false
	}
	n, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	const usual = 32768
	return strconv.Itoa(n), n >= usual
}

func systemdBus() (string, bool) {
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		return "does not run here", false
	}
	for _, socket := range []string{"/run/systemd/private", "/run/dbus/system_bus_socket"} {
		if _, err := os.Stat(socket); err == nil {
			return socket, true
		}
	}
	return "it runs, but has no bus", false
}

// dataDir is where containerd keeps images, or where it would.
func dataDir() string {
	dir := "/var/lib/containerd"
	for dir != "/" {
		if _, err := os.Stat(dir); err == nil {
			break
		}
		dir = filepath.Dir(dir)
	}
	return dir
}
