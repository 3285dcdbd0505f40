/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entering a user namespace. From there on the host's rights are gone: what
 * needs them comes before (check.c), or is got ready here.
 */
#include "aide.h"
#include "text.h"
#include <string.h>
#include <sys/prctl.h>

static bool has_own_mounts(struct stage *st)
{
	for (const struct plan_step *s = st->plan->steps; s < st->step; s++)
		if ((s->op == OP_UNSHARE || s->op == OP_SETNS) && s->a & NS_MNT)
			return true;
	return false;
}

/*
 * The container's root may lie below directories that its users may not search.
 * A working directory goes along into a copy of the mount namespace, so the
 * stage waits there for OP_ROOT. On the host's own mounts it changes nothing.
 */
static int go_to_root(struct stage *st)
{
	const struct plan *p = st->plan;

	if (!has_own_mounts(st))
		return 0;
	for (const struct plan_step *s = st->step + 1; s < p->steps + p->nsteps; s++)
		if (s->op == OP_ROOT)
			return root_approach(st, plan_str(p, s, 2));
	return 0;
}

/* A hard limit is raised by the host's rights only: those that the plan raises
 * go up now, and its step later sets both. Where it cannot, that step says so. */
static void raise_limits(struct stage *st)
{
	const struct plan *p = st->plan;
	struct rlimit r;

	for (const struct plan_step *s = st->step + 1; s < p->steps + p->nsteps; s++) {
		if (s->op != OP_RLIMIT || syscall(SYS_prlimit64, 0, (int)s->a, NULL, &r) || s->c <= r.rlim_max)
			continue;
		r.rlim_max = s->c;
		syscall(SYS_prlimit64, 0, (int)s->a, &r, NULL);
	}
}

int userns_prepare(struct stage *st)
{
	st->entered = true;
	sources_done(st);
	raise_limits(st);
	/* The host's groups, which a namespace may forbid to drop. Without the
	 * right to there are none worth the name. */
	syscall(SYS_setgroups, (size_t)0, NULL);
	return go_to_root(st);
}

/* Adds why, as far as that is known. */
void userns_refused(struct stage *st)
{
	if (errno == ENOSPC)
		say(st, "make user namespace: more than user.max_user_namespaces allows, or nested too deep");
	if (errno == EINVAL)
		say(st, "make user namespace: needs a kernel with CONFIG_USER_NS");
}

/* The aide: once the stage has its namespace, which it tells by a byte. */
static int map_the_stage(struct stage *st, struct aide *a)
{
	char byte;

	if (aide_receive(a, &byte, 1, NULL))
		return ECANCELED;
	return maps_write(st, a->of, text_of(st, 0), text_of(st, 1)) ? errno : 0;
}

int do_map_users(struct stage *st)
{
	char self[16];
	struct aide a = {.of = self};
	int err;

	if (userns_prepare(st))
		return -1;
	say(st, "fork a writer of uid_map and gid_map");
	if (proc_self(st, self, sizeof self) || aide_start(st, &a, 0, map_the_stage))
		return -1;
	say(st, "make user namespace");
	if (unshare((int)NS_USER)) {
		err = errno;
		aide_end(&a);
		errno = err;
		userns_refused(st);
		return -1;
	}
	say(st, "ask for uid_map and gid_map");
	if (aide_send(&a, "", 1, -1)) {
		aide_end(&a);
		return -1;
	}
	return aide_end(&a);
}

/* EINVAL: the namespace has no such number. */
static int become(struct stage *st, long call, const char *what)
{
	say(st, "become %s 0 of the user namespace", what);
	return syscall(call, 0, 0, 0) && errno != EINVAL ? -1 : 0;
}

int do_root_user(struct stage *st)
{
	say(st, "drop groups");
	if (syscall(SYS_setgroups, (size_t)0, NULL) && (errno != EPERM || syscall(SYS_getgroups, 0, NULL) > 0))
		return -1;
	if (become(st, SYS_setresgid, "gid") || become(st, SYS_setresuid, "uid"))
		return -1;
	/* As in do_user. */
	return prctl(PR_SET_DUMPABLE, 0);
}

/* Adds why the file system of an OP_MOUNT is not to be had by users. */
void userns_hint(struct stage *st)
{
	static const struct {
		const char *type, *needs;
	} hints[] = {
		{"proc", "its pid namespace, and a /proc of the host with nothing mounted over parts of it"},
		{"sysfs", "its network namespace, and a /sys of the host with nothing mounted over parts of it"},
		{"mqueue", "its ipc namespace"},
		{"cgroup", "its cgroup namespace"},
		{"cgroup2", "its cgroup namespace"},
	};
	size_t len = strlen(st->slot->what);

	for (unsigned i = 0; st->entered && i < sizeof hints / sizeof *hints; i++)
		if (!strcmp(text_of(st, 0), hints[i].type))
			text_format(st->slot->what + len, sizeof st->slot->what - len, " (the user namespace must own %s)", hints[i].needs);
}
