/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of the kernel's interface that musl does not declare. Written out
 * here, so that the program built does not depend on which kernel headers the
 * builder has.
 */
#ifndef FOUNDRY_KERNEL_H
#define FOUNDRY_KERNEL_H
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#define NS_TIME 0x80ull
#define NS_CGROUP 0x02000000ull
#define NS_MNT 0x00020000ull
#define NS_UTS 0x04000000ull
#define NS_IPC 0x08000000ull
#define NS_USER 0x10000000ull
#define NS_PID 0x20000000ull
#define NS_NET 0x40000000ull
#define NS_ALL (NS_TIME | NS_CGROUP | NS_MNT | NS_UTS | NS_IPC | NS_USER | NS_PID | NS_NET)

#define K_CLONE_PIDFD 0x1000ull
#define K_CLONE_PARENT 0x8000ull
#define K_CLONE_PARENT_SETTID 0x100000ull
#define K_CLONE_INTO_CGROUP 0x200000000ull
struct k_clone_args {
	uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
};

struct k_open_how {
	uint64_t flags, mode, resolve;
};
#define K_NO_MAGICLINKS 0x02
#define K_NO_SYMLINKS 0x04
#define K_BENEATH 0x08
#define K_IN_ROOT 0x10

struct k_mount_attr {
	uint64_t set, clr, propagation, userns;
};
#define K_ATTR_RDONLY 0x01ull
#define K_ATTR_NOSUID 0x02ull
#define K_ATTR_NODEV 0x04ull
#define K_ATTR_NOEXEC 0x08ull
#define K_ATTR_ATIME 0x70ull
#define K_ATTR_IDMAP 0x100000ull
#define K_ATTR_KNOWN 0x2000ffull /* all of the above, NODIRATIME and NOSYMFOLLOW */

#define K_OPEN_TREE_CLONE 1
#define K_AT_RECURSIVE 0x8000
#define K_MOVE_F_EMPTY 0x04
#define K_MOVE_T_EMPTY 0x40
#define K_FSCONFIG_FLAG 0
#define K_FSCONFIG_STRING 1
#define K_FSCONFIG_CREATE 6

struct k_statx {
	uint32_t mask, blksize;
	uint64_t attributes;
	uint32_t nlink, uid, gid;
	uint16_t mode, pad0;
	uint64_t ino, size, blocks, attributes_mask;
	uint64_t times[8];
	uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
	uint64_t rest[14];
};
#define K_STATX_BASIC 0x7ffu
#define K_STATX_MOUNT_ROOT 0x2000ull

struct k_sigaction {
	void (*handler)(int);
	unsigned long flags;
	void (*restorer)(void);
	uint64_t mask;
};
#define K_SA_RESTORER 0x04000000ul

#define K_SECCOMP_SET_FILTER 1
#define K_SECCOMP_FLAGS 0x37ull /* all but NEW_LISTENER, for which STEP_LISTENER stands */
#define K_SECCOMP_TSYNC 0x01ull
#define K_SECCOMP_NEW_LISTENER 0x08ull
#define K_KEYCTL_JOIN_SESSION 1
#define K_KEYCTL_SETPERM 5
#define K_KEYCTL_DESCRIBE 6

#define K_FUTEX_WAIT 0 /* not FUTEX_PRIVATE: the page is shared with the server */
#define K_DEVPTS_MAGIC 0x1cd1
#define K_PROC_MAGIC 0x9fa0
#define K_TIOCGPTPEER 0x5441
#define K_MFD_CLOEXEC 1u
#define K_F_GET_SEALS 1034
#define K_SEALS_NEEDED 0x0e /* SHRINK, GROW, WRITE */
#define K_P_PID 1
#define K_P_ALL 0
#define K_WALL 0x40000000

#endif
