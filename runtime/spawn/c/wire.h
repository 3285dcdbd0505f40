/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the server and the spawner say to each other. The Go side is
 * ../wire.go; a test compares both. Little-endian hosts only.
 *
 *   server                         spawner                       stage (forked)
 *   HELLO(version, ops) ---------> 
 *          <---------------------- HELLO(version, ops, pid)
 *   SPAWN(key) + fds ------------> reserve slot, clone3 --------> steps...
 *          <---------------------- SPAWNED(key, slot, pid) + pidfd
 *          <== status pipe: 'H', 'N' or 'R' at a sync ========== waits on slot.go
 *   slot.go = n, FUTEX_WAKE ====================================> goes on
 *          <== slot.listener, after 'N': 1 + descriptor ======== filter is installed: looks at slot.go without a call
 *   pidfd_getfd, slot.go = n ===================================> goes on
 *          <== status pipe: EOF (execve or exit; slot.err tells) =
 *          <---------------------- EXITED(key, slot, pid, status, ns)
 *   ACK(key, slot) --------------> slot is free again
 */
#ifndef FOUNDRY_WIRE_H
#define FOUNDRY_WIRE_H
#include <stdint.h>

#define WIRE_VERSION 1
#define WIRE_MAX_FDS 120 /* descriptors in one message; the kernel refuses 254 */

/* --- messages: one fixed size, SOCK_SEQPACKET --- */
enum msg_type {
	MSG_HELLO = 1,   /* arg[0] version, arg[1..2] bitmap of known ops; answer: the same of the spawner, pid */
	MSG_SPAWN,       /* key, clone_flags, arg[0] plan bytes, flags SPAWN_*; fds: plan memfd, status pipe, [cgroup dir], plan's files */
	MSG_SPAWNED,     /* key, slot, pid, err; fd: pidfd (none when err != 0); err of a stage: SPAWN_STAGE, arg[0] step */
	MSG_EXITED,      /* key, slot, pid, status (0-255, or 128+signal), arg[0] CLOCK_REALTIME ns, arg[1] raw si_code<<32|si_status */
	MSG_ACK,         /* key, slot: the exit is stored, the slot may be used again */
	MSG_HOLD,        /* key, arg[0] tag; fds: kept until DROP; answered with MSG_DONE */
	MSG_DROP,        /* key, arg[0] tag or ~0 for all of the key; answered with MSG_DONE after the close */
	MSG_FETCH,       /* arg[0] cursor, 0 first: answered with one MSG_HELD page, or MSG_DONE when there are no more */
	MSG_HELD,        /* key, arg[0] tag, arg[1] next cursor; fds */
	MSG_LIST,        /* arg[0] first slot: answered with MSG_EXITED or MSG_SPAWNED (with pidfd) of the next used slot, or MSG_DONE */
	MSG_DONE,        /* key and seq of the request, err */
	MSG_UPGRADE,     /* fd: memfd of a new spawner; it execs it in its own pid; answered by MSG_HELLO of the new one, or MSG_DONE with err */
	MSG_STOP,        /* leave when no process is left, although the server lives; answered with MSG_DONE, status: how many live */
	MSG_ADOPT,       /* key, pid: a child of the spawner without a slot (criu restores a sibling of itself) gets one; answered like SPAWN */
};

#define SPAWN_CGROUP 1u   /* the third descriptor is a cgroup v2 directory: CLONE_INTO_CGROUP */
#define SPAWN_HELPER 2u   /* a hook or logger: counted apart */
#define SPAWN_FORKS 4u    /* set by the spawner: the plan has an OP_FORK, SPAWNED is sent for the child of the intermediate */
#define SPAWN_STAGE 8u    /* in SPAWNED: err is the stage's, arg[0] its step */

struct msg {
	uint32_t type;
	uint32_t seq;      /* set by the server, copied into the answer */
	uint64_t key;
	uint64_t clone_flags;
	int32_t pid;
	uint32_t slot;
	int32_t err;       /* positive errno */
	int32_t status;
	uint32_t flags;
	uint32_t nfds;
	uint64_t arg[8];
	char text[256];    /* what failed, for people */
};

/* --- plan: a sealed memfd; header, steps, arena --- */
#define PLAN_MAGIC 0x4c50594652444e46ull
struct plan_header {
	uint64_t magic;
	uint32_t version;
	uint32_t nsteps;
	uint32_t nfiles;   /* descriptors that follow the status pipe and the cgroup */
	uint32_t arena;    /* bytes after the steps; the last one is NUL */
};
struct plan_str {
	uint32_t off, len; /* in the arena; the byte at off+len is NUL */
};
struct plan_step {
	uint16_t op, flags;
	int16_t fd, pad;
	uint64_t a, b, c;
	struct plan_str s[4];
};

/* --- slot file: page 0 is the header, page n is slot n --- */
#define SLOT_SIZE 4096
#define SLOT_MAGIC 0x544f4c5346444e46ull
struct slot_header {
	uint64_t magic;
	uint32_t version;
	uint32_t slots;       /* including page 0 */
	uint32_t high;        /* slots at and above were never used */
	int32_t spawner;      /* pid */
	uint64_t orphans;     /* reaped processes that had no slot */
};
enum slot_state { SLOT_FREE, SLOT_RESERVED, SLOT_RUNNING, SLOT_EXITED };
struct slot {
	uint32_t state;       /* spawner */
	uint32_t go;          /* futex; the server stores how many sync points it has let pass, the stage waits for its phase */
	uint64_t key;         /* spawner */
	int32_t pid;          /* spawner: as the spawner sees it */
	int32_t child;        /* stage: made by OP_FORK */
	int32_t status;       /* spawner: 0-255, or 128+signal */
	int32_t sig;          /* spawner: signal that ended it, or 0 */
	uint64_t started_ns;  /* spawner: CLOCK_REALTIME */
	uint64_t exited_ns;   /* spawner: CLOCK_REALTIME */
	int32_t err;          /* stage: errno of the failed step, 0 none */
	uint32_t step;        /* stage: index of the step under way */
	int32_t tty;          /* stage: number of its pty master descriptor while at OP_READY, else -1 */
	uint32_t phase;       /* stage: sync points reached */
	uint32_t flags;       /* SPAWN_* */
	char what[256];       /* stage: system call and object of the failure, NUL terminated */
	int32_t listener;     /* stage: 1 + number of its seccomp listener while the server may take it, else 0 */
};

/* --- steps: numbers as in runtime/plan/step.go --- */
enum op {
	OP_END, OP_SETNS, OP_UNSHARE, OP_FORK, OP_CGROUP1, OP_OOM_SCORE, OP_KEYRING, OP_SETSID, OP_DUP, OP_NULL, OP_TTY,
	OP_PROPAGATE, OP_MOUNT_HOST, OP_ROOT, OP_MOUNT, OP_BIND, OP_MKNOD, OP_SYMLINK, OP_PIVOT, OP_MASK, OP_READONLY,
	OP_ROOT_READONLY, OP_ROOT_PROPAGATE, OP_SYSCTL, OP_HOSTNAME, OP_DOMAINNAME, OP_LOOPBACK, OP_RLIMIT, OP_UMASK,
	OP_CHDIR, OP_USER, OP_BOUND, OP_CAPS, OP_KEEP_CAPS, OP_NO_NEW_PRIVS, OP_SECCOMP, OP_LOOKUP, OP_HOOKS, OP_READY,
	OP_EXEC, OP_EXEC_HOST, OP_MKDIR, OP_MAP_USERS, OP_ROOT_USER, OP_TIME, OP_SOURCE, OP_IDMAP_HOST, OP_UNMOUNT_HOST,
	OP_REMOUNT, OP_SCHEDULER, OP_IO_PRIORITY, OP_PERSONALITY, OP_AFFINITY, OP_MEM_POLICY, OP_LABEL, OP_COUNT
};
enum {
	STEP_REC = 1, STEP_ATTR_REC = 2, STEP_CONSOLE = 4, STEP_BIND_DEV = 8, STEP_MKDIR = 16, STEP_INIT = 32, STEP_OPTIONAL = 64,
	STEP_HOME = 128, STEP_SOURCE = 256, STEP_COPY_UP = 512, STEP_LISTENER = 1024, STEP_LOOP = 2048,
	STEP_STAY = 4096
};
#endif
