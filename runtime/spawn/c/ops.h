/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FOUNDRY_OPS_H
#define FOUNDRY_OPS_H
#include "wire.h"

enum fd_use { FD_NONE, FD_NEEDED, FD_MAYBE };

/* What must have happened before a step, so that it cannot touch the host. */
enum op_needs {
	OWN_MOUNTS = 1, /* a mount namespace was unshared or joined */
	OWN_NAMES = 2,  /* likewise UTS */
	OWN_NET = 4,    /* likewise network */
	OWN_ROOT = 8,   /* OP_ROOT */
	IN_ROOT = 16,   /* OP_ROOT, or the root of a mount namespace that was joined */
	LOOKED_UP = 32, /* OP_LOOKUP */
	HOST_FDS = 64,  /* nothing before; uses descriptors that lead to the host */
	HOST_RIGHTS = 128, /* that no user namespace was entered */
	OWN_USERS = 256, /* that one was */
	OWN_TIME = 512, /* a time namespace was unshared */
	FORKS = 1024,   /* that no new pid namespace waits for its first process */
};

struct op_rule {
	const char *name;
	uint16_t flags; /* allowed, besides STEP_OPTIONAL */
	uint8_t fd;
	char strings[5];
	uint16_t needs;
};

extern const struct op_rule op_rules[OP_COUNT];
#endif
