/* SPDX-License-Identifier: Apache-2.0 */
#include "stage.h"
#include "text.h"
#include <sys/prctl.h>

/*
 * The stage is not dumpable, so the files of its /proc/self are those of the
 * host's root, as which a user namespace does not let it write. They are its
 * own while it is dumpable: for no longer than the opening takes. Meanwhile who
 * is in the same user namespace and sees the process may trace it: only a
 * container that was told to share both its user and its pid namespace.
 */
static int open_own(struct stage *st, const char *path)
{
	int fd = openat(st->proc, path, O_WRONLY | O_CLOEXEC), err;

	if (fd >= 0 || errno != EACCES)
		return fd;
	prctl(PR_SET_DUMPABLE, 1);
	fd = openat(st->proc, path, O_WRONLY | O_CLOEXEC);
	err = errno;
	prctl(PR_SET_DUMPABLE, 0);
	errno = err;
	return fd;
}

static int set_offsets(struct stage *st)
{
	int fd = open_own(st, "self/timens_offsets");

	if (fd < 0 || write(fd, text_of(st, 0), len_of(st, 0)) != (ssize_t)len_of(st, 0))
		return -1;
	return close(fd);
}

int do_time(struct stage *st)
{
	int fd;

	say(st, "write timens_offsets %q", text_of(st, 0));
	if (len_of(st, 0) && set_offsets(st)) {
		if (errno == ENOENT)
			say(st, "write timens_offsets: needs Linux >= 5.6 with time namespaces");
		return -1;
	}
	say(st, "enter time namespace");
	fd = openat(st->proc, "self/ns/time_for_children", O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, (int)NS_TIME))
		return -1;
	return close(fd);
}
