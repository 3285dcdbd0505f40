/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plan as it came from the server, and the check that every one of them
 * passes before the spawner clones. The spawner never reads a plan again after
 * that; the stage relies on what is checked here: operands lie inside the
 * plan, strings are terminated, descriptor numbers exist, nothing is done to
 * the host's mounts or names, and the last step, only it, executes something.
 */
#ifndef FOUNDRY_CHECK_H
#define FOUNDRY_CHECK_H
#include "wire.h"
#include <stdbool.h>
#include <stddef.h>

#define PLAN_MAX_STEPS 4096
#define PLAN_MAX_BYTES (16u << 20)
#define PLAN_MAX_DUP 16 /* OP_DUP and OP_NULL make descriptors below this; the spawner keeps these numbers busy */
#define PLAN_MAX_NODES 1024 /* memory nodes that kernels know */
#define PLAN_MAX_CPUS 8192
#define PLAN_MAX_SOURCES 512 /* OP_SOURCE makes numbers below this */

struct plan {
	const struct plan_step *steps;
	const char *arena;
	size_t len; /* of the mapping that begins with the header */
	uint32_t nsteps, nfiles;
	bool forks;    /* has OP_FORK */
	bool oom;      /* has OP_OOM_SCORE */
	bool nofile;   /* has OP_RLIMIT of RLIMIT_NOFILE */
	bool umask;    /* has OP_UMASK */
	bool masks;    /* has OP_MASK after OP_PIVOT */
	uint32_t uses; /* how many steps, from the first, need descriptors of the host: none after them does */
};

struct plan_check {
	const void *buf;
	size_t len;
	uint32_t nfiles;
	uint64_t clone_flags;
};

/* Fills p and returns 0, or a positive errno with the reason in text. */
int plan_check(struct plan *p, const struct plan_check *in, char *text, size_t cap);

/* What a step is called in error texts. */
const char *op_name(unsigned op);

static inline const char *plan_str(const struct plan *p, const struct plan_step *s, int n)
{
	return p->arena + s->s[n].off;
}
#endif
