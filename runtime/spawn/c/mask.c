/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Masked paths. The first masked file gets a copy of the host's /dev/null, the
 * first masked directory an empty tmpfs; all others are copies of these two
 * mounts, so a long list costs one filesystem, and nothing of the container
 * is used: its /dev/null may be anything.
 */
#include "stage.h"
#include "fds.h"
#include "text.h"
#include <sys/stat.h>

#define COPY (K_OPEN_TREE_CLONE | O_CLOEXEC)

/* A detached copy of /dev/null: what was taken before the pivot, or now. */
int null_take(struct stage *st)
{
	struct k_mount_attr attr = {.set = K_ATTR_RDONLY | K_ATTR_NOSUID | K_ATTR_NOEXEC};
	int fd = st->null_mount;

	st->null_mount = -1;
	if (fd >= 0)
		return fd;
	say(st, "open /dev/null");
	fd = fd_above((int)syscall(SYS_open_tree, AT_FDCWD, "/dev/null", COPY), LOW_FDS);
	if (fd < 0)
		return -1;
	if (!path_is_char(fd, 1, 3)) {
		say(st, "open /dev/null: not the null device");
		errno = ENODEV;
		return -1;
	}
	return mount_attr(fd, 0, &attr) ? -1 : fd;
}

static int empty_directory(void)
{
	int fs = (int)syscall(SYS_fsopen, "tmpfs", 1), fd = -1;

	if (fs < 0)
		return -1;
	if (syscall(SYS_fsconfig, fs, K_FSCONFIG_STRING, "source", "tmpfs", 0) == 0 &&
	    syscall(SYS_fsconfig, fs, K_FSCONFIG_STRING, "nr_blocks", "1", 0) == 0 &&
	    syscall(SYS_fsconfig, fs, K_FSCONFIG_STRING, "nr_inodes", "1", 0) == 0 &&
	    syscall(SYS_fsconfig, fs, K_FSCONFIG_STRING, "mode", "0555", 0) == 0 &&
	    syscall(SYS_fsconfig, fs, K_FSCONFIG_FLAG, "ro", NULL, 0) == 0 &&
	    syscall(SYS_fsconfig, fs, K_FSCONFIG_CREATE, NULL, NULL, 0) == 0)
		fd = (int)syscall(SYS_fsmount, fs, 1, (unsigned)(K_ATTR_RDONLY | K_ATTR_NOSUID | K_ATTR_NODEV | K_ATTR_NOEXEC));
	close(fs);
	return fd_above(fd, LOW_FDS);
}

int do_mask(struct stage *st)
{
	int path = path_open(st, text_of(st, 2), O_PATH), fresh, *first;
	struct stat s;

	say(st, "mask %s", text_of(st, 2));
	if (path < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : -1;
	if (fstat(path, &s))
		return -1;
	first = S_ISDIR(s.st_mode) ? &st->mask_dir : &st->mask_file;
	if (*first >= 0)
		fresh = (int)syscall(SYS_open_tree, *first, "", COPY | AT_EMPTY_PATH);
	else
		fresh = S_ISDIR(s.st_mode) ? empty_directory() : null_take(st);
	if (fresh < 0 || mount_move(fresh, path))
		return -1;
	close(path);
	if (*first >= 0)
		close(fresh);
	else
		*first = fresh;
	return 0;
}
