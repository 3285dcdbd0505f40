/* SPDX-License-Identifier: Apache-2.0 */
#include "ops.h"
#include "check.h"

/*
 * What each step may carry. Strings, S0 to S3, one letter each:
 *   - none     s text     o text or none     / absolute path
 *   l list     e list or none     b bytes or none     m map of ids or none
 */
const struct op_rule op_rules[OP_COUNT] = {
	[OP_SETNS] = {"setns", 0, FD_NEEDED, "----", 0},
	[OP_UNSHARE] = {"unshare", 0, FD_NONE, "----", 0},
	[OP_FORK] = {"fork", 0, FD_NONE, "----", 0},
	[OP_CGROUP1] = {"cgroup", 0, FD_NEEDED, "----", HOST_RIGHTS},
	[OP_OOM_SCORE] = {"oom score", 0, FD_NONE, "----", HOST_FDS | HOST_RIGHTS},
	[OP_KEYRING] = {"keyring", 0, FD_NONE, "s---", 0},
	[OP_SETSID] = {"setsid", 0, FD_NONE, "----", 0},
	[OP_DUP] = {"dup", 0, FD_NEEDED, "----", 0},
	[OP_NULL] = {"null", 0, FD_NONE, "----", HOST_FDS},
	[OP_TTY] = {"terminal", STEP_CONSOLE, FD_NONE, "----", IN_ROOT},
	[OP_PROPAGATE] = {"propagate", 0, FD_NONE, "----", OWN_MOUNTS},
	[OP_MOUNT_HOST] = {"mount", STEP_LOOP, FD_NONE, "oo/o", OWN_MOUNTS | HOST_RIGHTS},
	[OP_ROOT] = {"root", 0, FD_NONE, "--/-", OWN_MOUNTS},
	[OP_MOUNT] = {"mount", STEP_ATTR_REC | STEP_COPY_UP | STEP_LOOP, FD_NONE, "sose", OWN_MOUNTS | IN_ROOT},
	[OP_BIND] = {"bind", STEP_REC | STEP_ATTR_REC | STEP_SOURCE, FD_MAYBE, "-os-", OWN_MOUNTS | IN_ROOT},
	[OP_MKNOD] = {"mknod", STEP_BIND_DEV, FD_NONE, "-os-", OWN_MOUNTS | IN_ROOT},
	[OP_SYMLINK] = {"symlink", 0, FD_NONE, "s-s-", OWN_MOUNTS | IN_ROOT},
	[OP_PIVOT] = {"pivot", 0, FD_NONE, "----", OWN_MOUNTS | OWN_ROOT},
	[OP_MASK] = {"mask", 0, FD_NONE, "--s-", OWN_MOUNTS | IN_ROOT},
	[OP_READONLY] = {"make read-only", 0, FD_NONE, "--s-", OWN_MOUNTS | IN_ROOT},
	[OP_ROOT_READONLY] = {"make root read-only", 0, FD_NONE, "----", OWN_MOUNTS | OWN_ROOT},
	[OP_ROOT_PROPAGATE] = {"propagate root", 0, FD_NONE, "----", OWN_MOUNTS | OWN_ROOT},
	[OP_SYSCTL] = {"sysctl", 0, FD_NONE, "so--", HOST_FDS},
	[OP_HOSTNAME] = {"hostname", 0, FD_NONE, "o---", OWN_NAMES},
	[OP_DOMAINNAME] = {"domainname", 0, FD_NONE, "o---", OWN_NAMES},
	[OP_LOOPBACK] = {"loopback", 0, FD_NONE, "----", OWN_NET},
	[OP_RLIMIT] = {"rlimit", 0, FD_NONE, "----", 0},
	[OP_UMASK] = {"umask", 0, FD_NONE, "----", 0},
	[OP_CHDIR] = {"chdir", STEP_MKDIR, FD_NONE, "/---", 0},
	[OP_USER] = {"user", 0, FD_NONE, "b---", 0},
	[OP_BOUND] = {"bounding set", 0, FD_NONE, "----", 0},
	[OP_CAPS] = {"capabilities", 0, FD_NONE, "b---", 0},
	[OP_KEEP_CAPS] = {"keep capabilities", 0, FD_NONE, "----", 0},
	[OP_NO_NEW_PRIVS] = {"no_new_privs", 0, FD_NONE, "----", 0},
	[OP_SECCOMP] = {"seccomp", STEP_LISTENER, FD_NONE, "b---", 0},
	[OP_LOOKUP] = {"lookup", STEP_HOME, FD_NONE, "so--", 0},
	[OP_HOOKS] = {"hooks", 0, FD_NONE, "----", 0},
	[OP_READY] = {"ready", 0, FD_NONE, "----", 0},
	[OP_EXEC] = {"exec", STEP_INIT | STEP_STAY, FD_NONE, "le--", LOOKED_UP},
	[OP_EXEC_HOST] = {"exec", 0, FD_NONE, "le/-", 0},
	[OP_MKDIR] = {"mkdir", 0, FD_NONE, "--s-", OWN_MOUNTS | IN_ROOT},
	[OP_MAP_USERS] = {"map users", 0, FD_NONE, "mm--", HOST_FDS | HOST_RIGHTS | FORKS},
	[OP_ROOT_USER] = {"root user", 0, FD_NONE, "----", OWN_USERS},
	[OP_TIME] = {"time", 0, FD_NONE, "o---", HOST_FDS | OWN_TIME},
	[OP_SOURCE] = {"source", STEP_REC | STEP_ATTR_REC, FD_MAYBE, "m/-m", HOST_FDS | HOST_RIGHTS | FORKS},
	[OP_IDMAP_HOST] = {"idmapped mount", STEP_REC | STEP_ATTR_REC, FD_NONE, "m//m", OWN_MOUNTS | HOST_FDS | HOST_RIGHTS | FORKS},
	[OP_UNMOUNT_HOST] = {"unmount", 0, FD_NONE, "--/-", OWN_MOUNTS | HOST_RIGHTS},
	[OP_REMOUNT] = {"remount", STEP_ATTR_REC, FD_NONE, "--se", OWN_MOUNTS | IN_ROOT},
	[OP_SCHEDULER] = {"scheduler", 0, FD_NONE, "b---", 0},
	[OP_IO_PRIORITY] = {"I/O priority", 0, FD_NONE, "----", 0},
	[OP_PERSONALITY] = {"personality", 0, FD_NONE, "----", 0},
	[OP_AFFINITY] = {"CPU affinity", 0, FD_NONE, "b---", 0},
	[OP_MEM_POLICY] = {"memory policy", 0, FD_NONE, "b---", 0},
	[OP_LABEL] = {"label", 0, FD_NONE, "ss--", HOST_FDS},
};

const char *op_name(unsigned op)
{
	return op < OP_COUNT && op_rules[op].name ? op_rules[op].name : "unknown";
}
