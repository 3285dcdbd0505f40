/* SPDX-License-Identifier: Apache-2.0 */
#include "check.h"
#include "kernel.h"
#include "ops.h"
#include "text.h"
#include <string.h>

struct check {
	const struct plan_check *in;
	struct plan *plan;
	uint32_t arena; /* bytes */
	uint32_t at;    /* step under way */
	unsigned have;  /* enum op_needs */
	bool pivoted;
	bool entered;   /* a user namespace: the host's rights are gone */
	bool pid_waits; /* a new pid namespace has no process yet */
	bool synced;    /* the server was told of the process */
	uint64_t sources; /* made and not used yet */
	char *text;
	size_t cap;
};

static int refuse(struct check *c, int err, const char *why)
{
	const struct plan_step *s = c->plan->steps + c->at;

	text_format(c->text, c->cap, "step %d (%s, op %d): %s", (long)c->at, op_name(s->op), (long)s->op, why);
	return err;
}

static int refuse_plan(struct check *c, const char *why)
{
	text_format(c->text, c->cap, "plan: %s", why);
	return EINVAL;
}

static int check_frame(struct check *c)
{
	const struct plan_header *h = c->in->buf;
	uint64_t want;

	if (c->in->len < sizeof *h || c->in->len > PLAN_MAX_BYTES)
		return refuse_plan(c, "size out of range");
	if (h->magic != PLAN_MAGIC || h->version != WIRE_VERSION)
		return refuse_plan(c, "not a plan of this version");
	if (h->nsteps == 0 || h->nsteps > PLAN_MAX_STEPS)
		return refuse_plan(c, "number of steps out of range");
	if (h->nfiles != c->in->nfiles || h->nfiles > WIRE_MAX_FDS)
		return refuse_plan(c, "descriptors missing or left over");
	want = sizeof *h + (uint64_t)h->nsteps * sizeof(struct plan_step) + h->arena;
	if (want != c->in->len)
		return refuse_plan(c, "size does not match its header");
	c->arena = h->arena;
	c->plan->steps = (const struct plan_step *)(h + 1);
	c->plan->arena = (const char *)(c->plan->steps + h->nsteps);
	c->plan->len = c->in->len;
	c->plan->nsteps = h->nsteps;
	c->plan->nfiles = h->nfiles;
	if (h->arena == 0 || c->plan->arena[h->arena - 1] != 0)
		return refuse_plan(c, "strings are not terminated");
	if (c->in->clone_flags & ~(NS_USER | NS_PID))
		return refuse_plan(c, "clone makes user and pid namespaces only");
	c->entered = c->in->clone_flags & NS_USER;
	return 0;
}

/* One string operand against its letter in op_rules. */
static const char *check_string(struct check *c, const struct plan_str *s, char kind)
{
	const char *p;

	if (s->off >= c->arena || s->len >= c->arena - s->off)
		return "string outside the plan";
	p = c->plan->arena + s->off;
	if (p[s->len] != 0)
		return "string is not terminated";
	switch (kind) {
	case '-':
		return s->len ? "string that this step does not take" : NULL;
	case 'l':
		return s->len ? NULL : "empty list";
	case 'e':
	case 'b':
		return NULL;
	}
	if (memchr(p, 0, s->len))
		return "NUL inside a string";
	if (kind == 'm')
		return s->len >= 4096 || strspn(p, "0123456789 \n") != s->len ? "not a map of ids" : NULL;
	if (kind != 'o' && s->len == 0)
		return "empty string";
	if (kind == '/' && *p != '/')
		return "path is not absolute";
	if ((kind == '/' || kind == 's') && s->len >= 4096)
		return "string longer than a path";
	return NULL;
}

/* A source is moved: once. */
static const char *check_source_use(struct check *c, const struct plan_step *s)
{
	if (s->fd < 0 || s->fd >= PLAN_MAX_SOURCES || !(c->sources >> s->fd & 1))
		return "source that was not made, or is used already";
	c->sources &= ~(1ull << s->fd);
	return NULL;
}

static const char *check_descriptor(struct check *c, const struct plan_step *s)
{
	const struct op_rule *r = &op_rules[s->op];

	if (s->flags & ~(r->flags | STEP_OPTIONAL))
		return "unknown flag";
	if (r->fd == FD_NONE && s->fd > 0)
		return "descriptor that this step does not take";
	if (r->fd == FD_NEEDED && s->fd < 0)
		return "descriptor missing";
	if (s->flags & STEP_SOURCE)
		return check_source_use(c, s);
	if (r->fd != FD_NONE && (s->fd < -1 || s->fd >= (int)c->plan->nfiles))
		return "descriptor outside the plan";
	return NULL;
}

static const char *check_needs(struct check *c, const struct plan_step *s)
{
	unsigned needs = op_rules[s->op].needs;

	if (needs & HOST_RIGHTS && c->entered)
		return "needs the host's rights: must come before the user namespace";
	if (needs & FORKS && c->pid_waits)
		return "would take the first place in the new pid namespace: must come before it is made";
	if (needs & OWN_USERS && !c->entered)
		return "no user namespace was made or joined";
	return needs & ~(c->have | HOST_FDS | HOST_RIGHTS | OWN_USERS | FORKS) ?
		"would act on the host: a namespace or root step must come first" : NULL;
}

static const char *check_operands(struct check *c, const struct plan_step *s)
{
	const struct op_rule *r = &op_rules[s->op];
	const char *why = check_descriptor(c, s);

	if (why)
		return why;
	for (int i = 0; i < 4; i++)
		if ((why = check_string(c, &s->s[i], r->strings[i])))
			return why;
	return check_needs(c, s);
}

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
	if (s->a >= PLAN_MAX_SOURCES || c->sources >> s->a & 1)
		return "number of the source out of range, or in use";
	c->sources |= 1ull << s->a;
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

/* What the values of a step must satisfy beyond the table; also collects what
 * the spawner and the stage want to know beforehand. */
static const char *check_values(struct check *c, const struct plan_step *s)
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

/*
 * The container names the program: through /proc/self/fd it could name what
 * the stage has open of the host. So all that is closed after the last step
 * that needs it, and the lookup comes later.
 */
static const char *check_order(struct check *c, const struct plan_step *s)
{
	const struct op_rule *r = &op_rules[s->op];

	if (!(r->needs & (HOST_FDS | OWN_ROOT | IN_ROOT)) && (r->fd == FD_NONE || s->fd < 0))
		return NULL;
	if (c->have & LOOKED_UP)
		return "must come before the lookup of the program";
	c->plan->uses = c->at + 1;
	return NULL;
}

static int check_step(struct check *c, const struct plan_step *s)
{
	const char *why;

	if (s->op == OP_END)
		return refuse(c, EINVAL, "not a step");
	if (s->op >= OP_COUNT || !op_rules[s->op].name)
		return refuse(c, ENOSYS, "this spawner does not know the step; it needs an upgrade");
	if ((why = check_operands(c, s)) || (why = check_values(c, s)) || (why = check_order(c, s)))
		return refuse(c, EINVAL, why);
	return 0;
}

int plan_check(struct plan *p, const struct plan_check *in, char *text, size_t cap)
{
	struct check c = {.in = in, .plan = p, .text = text, .cap = cap};
	int err;

	memset(p, 0, sizeof *p);
	if ((err = check_frame(&c)))
		return err;
	for (; c.at < p->nsteps; c.at++)
		if ((err = check_step(&c, &p->steps[c.at])))
			return err;
	c.at--;
	if (p->steps[c.at].op != OP_EXEC && p->steps[c.at].op != OP_EXEC_HOST)
		return refuse(&c, EINVAL, "the last step must execute something");
	return 0;
}
