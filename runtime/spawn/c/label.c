/* SPDX-License-Identifier: Apache-2.0 */
#include "stage.h"
#include "text.h"
#include <string.h>

/* Through the host's /proc, whatever the container has at that place; check.c
 * has the list of files. */
int do_label(struct stage *st)
{
	char path[64];
	size_t len = len_of(st, 1);
	int fd, err;
	ssize_t n;

	text_format(path, sizeof path, "self/%s", text_of(st, 0));
	fd = openat(st->proc, path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	n = fd < 0 ? -1 : write(fd, text_of(st, 1), len);
	if (n == (ssize_t)len) {
		close(fd);
		return 0;
	}
	err = n < 0 ? errno : EIO;
	say(st, "write %q to /proc/self/%s%s", text_of(st, 1), text_of(st, 0),
	    fd < 0 && err == ENOENT ? " (the kernel has no such security module)" :
	    err == EINVAL ? " (the security module does not know it, or is not there)" : "");
	errno = err;
	return -1;
}
