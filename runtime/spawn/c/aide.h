/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FOUNDRY_AIDE_H
#define FOUNDRY_AIDE_H
#include "stage.h"

struct aide {
	pid_t pid;
	int sock;            /* of either side to the other */
	const char *of;      /* the stage's name in the host's /proc, for those that need it */
};

/* Runs in the aide; returns its exit status, an errno. */
typedef int aide_func(struct stage *st, struct aide *a);

/* flags are those of clone3. */
int aide_start(struct stage *st, struct aide *a, uint64_t flags, aide_func *run);
/* Lets the aide see the end of the socket and waits for its own. */
int aide_end(struct aide *a);
/* Messages, with a descriptor or -1, or into *fd, NULL for none. */
int aide_send(const struct aide *a, const void *buf, size_t len, int fd);
int aide_receive(const struct aide *a, void *buf, size_t len, int *fd);

/* What the caller is called in the host's /proc, whatever its pid namespace. */
int proc_self(struct stage *st, char *name, size_t cap);
/* Writes the maps that are not empty of the user namespace of pid. */
int maps_write(struct stage *st, const char *pid, const char *uids, const char *gids);
#endif
