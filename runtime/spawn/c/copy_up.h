/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FOUNDRY_COPY_UP_H
#define FOUNDRY_COPY_UP_H
#include "kernel.h"
#include <stdbool.h>
#include <sys/stat.h>

struct copy {
	char name[256];    /* of the entry under way */
	char data[16384];  /* a link's target, or the names of attributes */
	char value[16384]; /* of one attribute */
};

/* copy_file.c */
int copy_file(struct copy *c, int from, int to, const char *name);
int copy_looks(struct copy *c, int from, int to);
int copy_looks_at(int dir, const char *name, const struct stat *s);
#endif
