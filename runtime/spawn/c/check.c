/* SPDX-License-Identifier: Apache-2.0 */
#include "check_values.h"
#include "kernel.h"
#include "ops.h"
#include "text.h"
#include <string.h>

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
	if (s->fd < 0 || s->fd >= PLAN_MAX_SOURCES || !(c->sources[s->fd / 64] >> s->fd % 64 & 1))
		return "source that was not made, or is used already";
	c->sources[s->fd / 64] &= ~(1ull << s->fd % 64);
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
