/* SPDX-License-Identifier: Apache-2.0 */
/* Of a plan's check the part that knows what the steps mean. */
#include "check_values.h"
#include "kernel.h"
#include "ops.h"
#include <string.h>

/* A path below /proc/sys: no component may be empty, "." or "..". */
static bool plain_below(const char *p)
{
	for (;;) {
		size_t n = strcspn(p, "/");

		if (n == 0 || (n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.'))
			return false;
		if (!p[n])
			return true;
		p += n + 1;
	}
}

static const char *check_exec(struct check *c, const struct plan_step *s)
{
	if (c->at != c->plan->nsteps - 1)
		return "must be the last step";
	if (s->flags & STEP_OPTIONAL)
		return "cannot be optional";
	return c->pid_waits ? "a new pid namespace needs a fork before it" : NULL;
}

static const char *check_fork(struct check *c, const struct plan_step *s)
{
	if (c->plan->forks)
		return "second fork in one plan";
	if (c->in->clone_flags & NS_PID)
		return "the parent of a new pid namespace cannot be left by a fork";
	if (c->synced)
		return "must come before the first sync point";
	if (s->flags & STEP_OPTIONAL)
		return "cannot be optional";
	c->plan->forks = true;
	c->pid_waits = false;
	return NULL;
}

static const char *check_namespaces(struct check *c, const struct plan_step *s)
{
	if (s->a == 0 || (s->a & ~NS_ALL))
		return "not a set of namespaces";
	if (s->flags & STEP_OPTIONAL)
		return "cannot be optional"; /* what follows relies on it */
	if (s->a & NS_MNT)
		c->have |= OWN_MOUNTS;
	if ((s->a & NS_MNT) && s->op == OP_SETNS)
		c->have |= IN_ROOT;
	if (s->a & NS_UTS)
		c->have |= OWN_NAMES;
	if (s->a & NS_NET)
		c->have |= OWN_NET;
	if (s->a & NS_TIME)
		c->have |= OWN_TIME;
	c->entered |= (s->a & NS_USER) != 0;
	c->pid_waits |= s->op == OP_UNSHARE && s->a & NS_PID;
	return NULL;
}

static const char *check_idmap(const struct plan_step *s)
{
	if (!s->s[0].len != !s->s[3].len)
		return "only one of the maps of users and groups";
	return s->fd >= 0 && s->s[0].len ? "both maps and a user namespace" : NULL;
}

static const char *check_source(struct check *c, const struct plan_step *s)
{
	if (s->a >= PLAN_MAX_SOURCES || c->sources[s->a / 64] >> s->a % 64 & 1)
		return "number of the source out of range, or in use";
	c->sources[s->a / 64] |= 1ull << s->a % 64;
	return check_idmap(s);
}

static const char *check_map_users(struct check *c, const struct plan_step *s)
{
	c->entered = true;
	return s->flags & STEP_OPTIONAL ? "cannot be optional" : NULL;
}

/* Where LSMs take the labels of what a process makes. */
static bool is_label_file(const char *path)
{
	static const char *const files[] = {"attr/exec", "attr/apparmor/exec", "attr/keycreate", "attr/fscreate", "attr/sockcreate"};

	for (unsigned i = 0; i < sizeof files / sizeof *files; i++)
		if (!strcmp(path, files[i]))
			return true;
	return false;
}

/* A struct sched_attr begins with its own size; the first has 48 bytes. */
static bool is_sched_attr(const char *p, uint32_t len)
{
	uint32_t size;

	if (len < 48 || len > 256)
		return false;
	memcpy(&size, p, sizeof size);
	return size == len;
}

/* Values of the steps of cpu.c. */
static const char *check_cpu(const struct plan *p, const struct plan_step *s)
{
	uint32_t len = s->s[0].len;

	switch (s->op) {
	case OP_SCHEDULER:
		return is_sched_attr(plan_str(p, s, 0), len) ? NULL : "not a struct sched_attr";
	case OP_IO_PRIORITY:
		return s->a > 0xffff ? "priority out of range" : NULL;
	case OP_PERSONALITY:
		return s->a >= 0xffffffff ? "personality out of range" : NULL;
	case OP_AFFINITY:
		return !len || len > PLAN_MAX_CPUS / 8 ? "not a CPU mask" : NULL;
	case OP_MEM_POLICY:
		return s->a > 0xffff || s->b > PLAN_MAX_NODES || len > PLAN_MAX_NODES / 8 ? "policy or node mask out of range" : NULL;
	}
	return NULL;
}

static const char *check_mount(const struct check *c, const struct plan_step *s)
{
	if (s->flags & STEP_LOOP && c->pivoted)
		return "loop devices are the host's: must come before the pivot";
	if (s->flags & STEP_LOOP && plan_str(c->plan, s, 1)[0] != '/')
		return "path of the image is not absolute";
	if (s->flags & STEP_COPY_UP && strcmp(plan_str(c->plan, s, 0), "tmpfs"))
		return "only a tmpfs can be filled";
	return NULL;
}

const char *check_values(struct check *c, const struct plan_step *s)
{
	struct plan *p = c->plan;

	switch (s->op) {
	case OP_SETNS:
	case OP_UNSHARE:
		return check_namespaces(c, s);
	case OP_FORK:
		return check_fork(c, s);
	case OP_ROOT:
		if (c->have & OWN_ROOT)
			return "second root in one plan";
		c->have |= OWN_ROOT | IN_ROOT;
		return s->flags & STEP_OPTIONAL ? "cannot be optional" : NULL;
	case OP_PIVOT:
		c->pivoted = true;
		return s->a > 1 ? "unknown way to change the root" : s->flags & STEP_OPTIONAL ? "cannot be optional" : NULL;
	case OP_MASK:
		p->masks |= c->pivoted;
		return NULL;
	case OP_MOUNT:
	case OP_MOUNT_HOST:
		return check_mount(c, s);
	case OP_LABEL:
		return is_label_file(plan_str(p, s, 0)) ? NULL : "not a file for labels";
	case OP_OOM_SCORE:
		p->oom = true;
		return (int64_t)s->a < -1000 || (int64_t)s->a > 1000 ? "score out of range" : NULL;
	case OP_DUP:
	case OP_NULL:
		return s->a >= PLAN_MAX_DUP ? "descriptor number out of range" : NULL;
	case OP_BIND:
		return s->fd < 0 && plan_str(p, s, 1)[0] != '/' ? "neither a descriptor nor an absolute path" : NULL;
	case OP_SYSCTL:
		return plain_below(plan_str(p, s, 0)) ? NULL : "not a path below /proc/sys";
	case OP_RLIMIT:
		p->nofile |= s->a == 7;
		return s->a >= 16 ? "unknown resource" : NULL;
	case OP_UMASK:
		p->umask = true;
		return s->a > 0777 ? "mask out of range" : NULL;
	case OP_USER:
		return s->s[0].len % 4 || s->s[0].len > 65536 * 4 ? "not a list of groups" : NULL;
	case OP_CAPS:
		return s->s[0].len && s->s[0].len != 8 ? "not an ambient mask" : NULL;
	case OP_SECCOMP:
		c->synced |= (s->flags & STEP_LISTENER) != 0;
		if (s->a & ~K_SECCOMP_FLAGS)
			return "unknown filter flag";
		return s->s[0].len % 8 || !s->s[0].len || s->s[0].len > 4096 * 8 ? "not a filter" : NULL;
	case OP_LOOKUP:
		c->have |= LOOKED_UP;
		return s->flags & STEP_OPTIONAL ? "cannot be optional" : NULL;
	case OP_MAP_USERS:
		return check_map_users(c, s);
	case OP_ROOT_USER:
		return s->flags & STEP_OPTIONAL ? "cannot be optional" : NULL;
	case OP_SOURCE:
		return check_source(c, s);
	case OP_IDMAP_HOST:
		return check_idmap(s);
	case OP_HOOKS:
	case OP_READY:
		c->synced = true;
		return s->flags & STEP_OPTIONAL ? "cannot be optional" : NULL;
	case OP_EXEC:
	case OP_EXEC_HOST:
		return check_exec(c, s);
	}
	return check_cpu(p, s);
}
