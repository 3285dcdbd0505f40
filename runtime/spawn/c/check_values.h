/* SPDX-License-Identifier: Apache-2.0 */
/* The state of a check, for the two files that it is in. */
#ifndef FOUNDRY_CHECK_VALUES_H
#define FOUNDRY_CHECK_VALUES_H
#include "check.h"

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
	uint64_t sources[PLAN_MAX_SOURCES / 64]; /* made and not used yet */
	char *text;
	size_t cap;
};

/* What the values of a step must satisfy beyond the table; also collects what
 * the spawner and the stage want to know beforehand. Returns why not. */
const char *check_values(struct check *c, const struct plan_step *s);
#endif
