/* SPDX-License-Identifier: Apache-2.0 */
#include "stage.h"
#include "fds.h"
#include "text.h"
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>

typedef int step_func(struct stage *);

static step_func *const steps[OP_COUNT] = {
	[OP_SETNS] = do_setns,
	[OP_UNSHARE] = do_unshare,
	[OP_FORK] = do_fork,
	[OP_CGROUP1] = do_cgroup1,
	[OP_OOM_SCORE] = do_oom_score,
	[OP_KEYRING] = do_keyring,
	[OP_SETSID] = do_setsid,
	[OP_DUP] = do_dup,
	[OP_NULL] = do_null,
	[OP_TTY] = do_tty,
	[OP_PROPAGATE] = do_propagate,
	[OP_MOUNT_HOST] = do_mount_host,
	[OP_ROOT] = do_root,
	[OP_MOUNT] = do_mount,
	[OP_BIND] = do_bind,
	[OP_MKNOD] = do_mknod,
	[OP_SYMLINK] = do_symlink,
	[OP_PIVOT] = do_pivot,
	[OP_MASK] = do_mask,
	[OP_READONLY] = do_readonly,
	[OP_ROOT_READONLY] = do_root_readonly,
	[OP_ROOT_PROPAGATE] = do_propagate,
	[OP_SYSCTL] = do_sysctl,
	[OP_HOSTNAME] = do_hostname,
	[OP_DOMAINNAME] = do_domainname,
	[OP_LOOPBACK] = do_loopback,
	[OP_RLIMIT] = do_rlimit,
	[OP_UMASK] = do_umask,
	[OP_CHDIR] = do_chdir,
	[OP_USER] = do_user,
	[OP_BOUND] = do_bound,
	[OP_CAPS] = do_caps,
	[OP_KEEP_CAPS] = do_keep_caps,
	[OP_NO_NEW_PRIVS] = do_no_new_privs,
	[OP_SECCOMP] = do_seccomp,
	[OP_LOOKUP] = do_lookup,
	[OP_HOOKS] = do_hooks,
	[OP_READY] = do_ready,
	[OP_EXEC] = do_exec,
	[OP_EXEC_HOST] = do_exec_host,
	[OP_MKDIR] = do_mkdir,
	[OP_MAP_USERS] = do_map_users,
	[OP_ROOT_USER] = do_root_user,
	[OP_TIME] = do_time,
	[OP_SOURCE] = do_source,
	[OP_IDMAP_HOST] = do_idmap_host,
	[OP_UNMOUNT_HOST] = do_unmount_host,
	[OP_REMOUNT] = do_remount,
	[OP_SCHEDULER] = do_scheduler,
	[OP_IO_PRIORITY] = do_io_priority,
	[OP_PERSONALITY] = do_personality,
	[OP_AFFINITY] = do_affinity,
	[OP_MEM_POLICY] = do_mem_policy,
	[OP_LABEL] = do_label,
};

/* The server reads the slot page once the status pipe has closed. */
_Noreturn void stage_fail(struct stage *st, int err)
{
	__atomic_store_n(&st->slot->err, err ? err : EIO, __ATOMIC_RELEASE);
	_exit(1);
}

/* Nothing that works may be lost by an error here: without a slot page there
 * is no way to tell but the exit status. */
static void shed(struct stage *st, struct birth *b)
{
	int keep[WIRE_MAX_FDS + 4], n = 0;

	st->slot = mmap(STAGE_MEMORY(0), SLOT_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, b->slots_fd, (off_t)b->slot * SLOT_SIZE);
	if (st->slot == MAP_FAILED)
		_exit(1);
	for (uint32_t i = 0; i < b->plan.nfiles; i++)
		keep[n++] = b->files[i];
	keep[n++] = b->status;
	keep[n++] = b->proc;
	keep[n++] = b->null;
	if (b->fifo >= 0)
		keep[n++] = b->fifo;
	fds_keep_only(keep, n);
}

static void inherit(struct stage *st, const struct birth *b)
{
	if (b->birth.oom_changed && !b->plan.oom && oom_score_write(b->proc, b->birth.oom_score)) {
		say(st, "write oom_score_adj");
		stage_fail(st, errno);
	}
	if (!b->plan.nofile)
		setrlimit(RLIMIT_NOFILE, &b->birth.nofile);
	/* Modes of what the stage makes are those it names. */
	umask(0);
}

/* See check_order. What remains is what the program gets, and pipes. */
static void close_host(struct stage *st)
{
	int keep[PLAN_MAX_DUP + 3], n = 0;

	for (int fd = 3; fd < PLAN_MAX_DUP; fd++)
		keep[n++] = fd;
	keep[n++] = st->status;
	if (st->fifo >= 0)
		keep[n++] = st->fifo;
	if (st->master >= 0)
		keep[n++] = st->master;
	fds_keep_only(keep, n);
	st->proc = st->null = st->root = st->null_mount = st->mask_file = st->mask_dir = -1;
}

_Noreturn void stage_run(struct birth *b)
{
	struct stage st = {
		.plan = &b->plan, .files = b->files, .status = b->status, .proc = b->proc, .null = b->null, .fifo = b->fifo,
		.root = -1, .null_mount = -1, .mask_file = -1, .mask_dir = -1, .master = -1, .loop.fd = -1, .own_mounts = -1, .locked_mounts = -1, .idmap = -1,
	};

	for (unsigned i = 0; i < PLAN_MAX_SOURCES; i++)
		st.sources[i].fd = -1;
	prctl(PR_SET_DUMPABLE, 0);
	shed(&st, b);
	prctl(PR_SET_NAME, "foundry-stage");
	signals_end_the_stage();
	inherit(&st, b);
	for (uint32_t i = 0; i < b->plan.nsteps; i++) {
		if (i == b->plan.uses)
			close_host(&st);
		st.step = &b->plan.steps[i];
		st.slot->step = i;
		if (steps[st.step->op](&st) == 0)
			continue;
		if (!(st.step->flags & STEP_OPTIONAL))
			stage_fail(&st, errno);
		st.slot->what[0] = 0;
	}
	_exit(1); /* not reached: plan_check demands an exec at the end */
}
