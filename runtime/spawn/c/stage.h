/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stage: a fork of the spawner that makes a container (or a hook, or a
 * logger) out of itself, one plan step after the other, and then executes the
 * program. It has its plan, its slot page and its descriptors; nothing else of
 * the spawner. A step fails by saying what and returning -1 with errno set.
 */
#ifndef FOUNDRY_STAGE_H
#define FOUNDRY_STAGE_H
#include "spawner.h"

/*
 * Where a stage asks for its nth mapping: away from what the spawner has mapped
 * and does not fork. User-mode Linux (6.1) leaves those pages in the child, and
 * what the child then maps over them is the spawner's memory.
 */
#define STAGE_MEMORY(n) ((void *)(0x10000000ul + ((unsigned long)(n) << 24)))

/* Everything the stage gets from the spawner. */
struct birth {
	struct plan plan;
	int files[WIRE_MAX_FDS];
	int status, slots_fd, proc, null;
	int fifo; /* one-shot: what start opens, else -1 */
	uint32_t slot;
	struct birthright birth;
};

/* loopdev.c: of the image that is being mounted; fd -1: none */
struct loop_device {
	int fd;
	bool readonly;
	char name[32];
};

struct stage {
	const struct plan *plan;
	const struct plan_step *step;
	int *files;
	struct slot *slot;
	int status, proc, null, fifo;
	int root;       /* O_PATH of the container's root, -1: not known yet */
	int null_mount; /* detached copy of the host's /dev/null, for masks after the pivot */
	int mask_file, mask_dir; /* the first masks, of which the others are copies */
	int master;     /* of the terminal */
	struct loop_device loop;
	struct source {
		int fd;           /* detached mount made by OP_SOURCE, -1: none */
		const char *path; /* of the host */
	} sources[PLAN_MAX_SOURCES];
	int own_mounts, locked_mounts; /* mount namespaces, see visit */
	int idmap; /* user namespace with these maps, see userns_of */
	const char *idmap_uids, *idmap_gids;
	bool entered; /* a user namespace */
	bool at_root; /* the working directory is the root to be, see root_approach */
	char program[4096];
	char home[512]; /* HOME=DIR for the program, empty: as the plan says */
};

_Noreturn void stage_run(struct birth *b);
_Noreturn void stage_fail(struct stage *st, int err);
/* Like text_format, into the slot page: "mount proc on /proc". */
#define say(st, ...) text_format((st)->slot->what, sizeof(st)->slot->what, __VA_ARGS__)

static inline const char *text_of(struct stage *st, int n)
{
	return plan_str(st->plan, st->step, n);
}

static inline uint32_t len_of(struct stage *st, int n)
{
	return st->step->s[n].len;
}

/* path.c: everything below the container's root, where links lead nowhere else */
int root_fd(struct stage *st);
int path_open(struct stage *st, const char *path, uint64_t flags);
struct place {
	int dir;         /* parent, O_PATH */
	char name[256];  /* last component */
};
int path_parent(struct stage *st, const char *path, struct place *p);
enum kind { KIND_DIR, KIND_FILE };
int path_make(struct stage *st, const char *path, enum kind kind, bool *existed);
int path_mount_point(struct stage *st, const char *path, enum kind kind, bool *existed);
bool path_is_char(int fd, unsigned major, unsigned minor);

/* namespace.c */
int do_setns(struct stage *st);
int do_unshare(struct stage *st);
int do_fork(struct stage *st);
int do_cgroup1(struct stage *st);
int do_hostname(struct stage *st);
int do_domainname(struct stage *st);
int do_loopback(struct stage *st);
int do_sysctl(struct stage *st);
int do_keyring(struct stage *st);

/* userns.c, timens.c */
int userns_prepare(struct stage *st);
void userns_refused(struct stage *st);
void userns_hint(struct stage *st);
int do_map_users(struct stage *st);
int do_root_user(struct stage *st);
int do_time(struct stage *st);

/* source.c */
int do_source(struct stage *st);
int do_idmap_host(struct stage *st);
void sources_done(struct stage *st);
int do_unmount_host(struct stage *st);

/* mount.c, bind.c, root.c, node.c, mask.c */
int mount_attr(int fd, unsigned flags, const struct k_mount_attr *a);
int mount_change(struct stage *st, int fd, unsigned flags, const struct k_mount_attr *a);
int mount_move(int mount, int target);
int do_mount(struct stage *st);
bool mount_is_long(struct stage *st);
int mount_long(struct stage *st, int target);
int do_mount_host(struct stage *st);
int mount_option(int fs, const char *option);
void mount_reason(struct stage *st, int fs);
int do_propagate(struct stage *st);
int do_bind(struct stage *st);
int do_readonly(struct stage *st);
int root_approach(struct stage *st, const char *path);
int do_root(struct stage *st);
int do_pivot(struct stage *st);
int do_root_readonly(struct stage *st);
int do_mknod(struct stage *st);
int do_symlink(struct stage *st);
int do_mkdir(struct stage *st);
int do_mask(struct stage *st);
int null_take(struct stage *st);
int propagation_set(int fd, uint64_t flags);

/* remount.c, copy_up.c, loopdev.c */
int do_remount(struct stage *st);
int copy_up(struct stage *st, int target, int mount);
int loop_attach(struct stage *st, const char *path, bool readonly);
void loop_leave(struct stage *st);

/* cpu.c, label.c */
int do_scheduler(struct stage *st);
int do_io_priority(struct stage *st);
int do_personality(struct stage *st);
int do_affinity(struct stage *st);
int do_mem_policy(struct stage *st);
int do_label(struct stage *st);

/* attr.c, user.c */
int do_oom_score(struct stage *st);
int do_setsid(struct stage *st);
int do_dup(struct stage *st);
int do_null(struct stage *st);
int do_rlimit(struct stage *st);
int do_umask(struct stage *st);
int do_chdir(struct stage *st);
int do_user(struct stage *st);
int do_bound(struct stage *st);
int do_caps(struct stage *st);
int do_keep_caps(struct stage *st);
int do_no_new_privs(struct stage *st);
int oom_score_write(int proc, long score);

/* tty.c */
int do_tty(struct stage *st);

/* own_null.c, home.c */
void own_null(void);
void home_find(struct stage *st, unsigned uid);

/* listener.c */
int do_seccomp(struct stage *st);

/* exec.c, init.c */
int do_lookup(struct stage *st);
int do_exec(struct stage *st);
int do_exec_host(struct stage *st);
int init_fork(struct stage *st);

/* sync.c */
void signals_end_the_stage(void);
int announce(struct stage *st, char point);
int do_hooks(struct stage *st);
int do_ready(struct stage *st);

#endif
