/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads plans from standard input, each as a length, a number of descriptors,
 * clone flags and the bytes, and checks them as the spawner does. Built with
 * sanitizers by a Go test: each plan lies in an allocation of just its size.
 * Of a plan that passes, everything is read that a stage would read.
 */
#include "../check.h"
#include "../ops.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the stage takes for granted about a source. */
static void use_source(const struct plan_step *s, bool *sources)
{
	if (s->fd < 0 || s->fd >= PLAN_MAX_SOURCES || !sources[s->fd])
		abort();
	sources[s->fd] = false;
}

struct order {
	bool entered, pid_waits;
};

/* No step needs the host's rights where they are gone, and nothing but the
 * fork makes the first process of a pid namespace. */
static void order(const struct plan_step *s, struct order *o)
{
	bool namespaces = s->op == OP_SETNS || s->op == OP_UNSHARE;
	bool aides = s->op == OP_MAP_USERS || s->op == OP_SOURCE || s->op == OP_IDMAP_HOST;

	if (o->entered && (aides || s->op == OP_MOUNT_HOST || s->op == OP_UNMOUNT_HOST || s->op == OP_CGROUP1))
		abort();
	if (o->pid_waits && (aides || s->op == OP_EXEC || s->op == OP_EXEC_HOST))
		abort();
	o->entered |= s->op == OP_MAP_USERS || (namespaces && s->a & 0x10000000);
	o->pid_waits |= s->op == OP_UNSHARE && s->a & 0x20000000;
	o->pid_waits &= s->op != OP_FORK;
}

static unsigned long read_all(const struct plan *p)
{
	bool sources[PLAN_MAX_SOURCES] = {false};
	struct order o = {false};
	unsigned long sum = 0;

	for (uint32_t i = 0; i < p->nsteps; i++) {
		const struct plan_step *s = &p->steps[i];

		for (int n = 0; n < 4; n++) {
			const char *text = plan_str(p, s, n);

			for (uint32_t at = 0; at <= s->s[n].len; at++)
				sum += (unsigned char)text[at];
			sum += strlen(text);
		}
		if (s->flags & STEP_SOURCE)
			use_source(s, sources);
		else if (op_rules[s->op].fd != FD_NONE && s->fd >= (int)p->nfiles)
			abort();
		if (s->op == OP_SOURCE)
			sources[s->a] = true; /* the sanitizers see to the range */
		order(s, &o);
	}
	return sum;
}

int main(int argc, char **argv)
{
	struct { uint32_t len, nfiles; uint64_t clone_flags; } h;
	unsigned long passed = 0, refused = 0, sum = 0;
	char text[256];
	struct plan p;

	while (fread(&h, sizeof h, 1, stdin) == 1) {
		struct plan_check in = {malloc(h.len ? h.len : 1), h.len, h.nfiles, h.clone_flags};
		int err;

		if (h.len && fread((void *)in.buf, h.len, 1, stdin) != 1)
			return 2;
		memset(text, 'x', sizeof text);
		err = plan_check(&p, &in, text, sizeof text);
		if (err && !memchr(text, 0, sizeof text))
			abort();
		if (err && argc > 1)
			printf("%s: %s\n", argv[1], text);
		if (err)
			refused++;
		else
			passed++, sum += read_all(&p);
		free((void *)in.buf);
	}
	printf("%lu passed, %lu refused, sum %lu\n", passed, refused, sum);
	return 0;
}
