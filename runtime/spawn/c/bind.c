/* SPDX-License-Identifier: Apache-2.0 */
#include "stage.h"
#include "text.h"
#include <string.h>
#include <sys/stat.h>

/* A detached copy of what is to be bound. */
static int bind_source(struct stage *st)
{
	unsigned flags = K_OPEN_TREE_CLONE | O_CLOEXEC | (st->step->flags & STEP_REC ? K_AT_RECURSIVE : 0);
	int fd;

	if (st->step->flags & STEP_SOURCE) {
		fd = st->sources[st->step->fd].fd;
		st->sources[st->step->fd].fd = -1;
		errno = ENOENT; /* an optional OP_SOURCE */
		return fd;
	}
	if (st->step->fd < 0)
		return (int)syscall(SYS_open_tree, AT_FDCWD, text_of(st, 1), flags);
	fd = (int)syscall(SYS_open_tree, st->files[st->step->fd], "", flags | AT_EMPTY_PATH);
	/* EINVAL: it is detached already (the server prepared it): move itself. */
	return fd < 0 && errno == EINVAL ? fcntl(st->files[st->step->fd], F_DUPFD_CLOEXEC, LOW_FDS) : fd;
}

static const char *source_name(struct stage *st)
{
	if (st->step->flags & STEP_SOURCE && st->sources[st->step->fd].path)
		return st->sources[st->step->fd].path;
	return st->step->fd < 0 ? text_of(st, 1) : "a descriptor";
}

int do_bind(struct stage *st)
{
	struct k_mount_attr attr = {.set = st->step->a, .clr = st->step->b};
	const char *from = source_name(st);
	int tree, target;
	struct stat s;

	say(st, "bind %s on %s: open source", from, text_of(st, 2));
	tree = bind_source(st);
	if (tree < 0 || fstat(tree, &s))
		return -1;
	say(st, "bind %s on %s: set attributes", from, text_of(st, 2));
	if ((attr.set || attr.clr) && mount_change(st, tree, st->step->flags & STEP_ATTR_REC ? K_AT_RECURSIVE : 0, &attr))
		return -1;
	say(st, "bind %s on %s: open target", from, text_of(st, 2));
	target = path_mount_point(st, text_of(st, 2), S_ISDIR(s.st_mode) ? KIND_DIR : KIND_FILE, NULL);
	if (target < 0)
		return -1;
	say(st, "bind %s on %s", from, text_of(st, 2));
	if (mount_move(tree, target) || propagation_set(tree, st->step->c))
		return -1;
	close(target);
	close(tree);
	return 0;
}

int do_readonly(struct stage *st)
{
	struct k_mount_attr attr = {.set = K_ATTR_RDONLY};
	int tree, path = path_open(st, text_of(st, 2), O_PATH);

	say(st, "make %s read-only", text_of(st, 2));
	if (path < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : -1;
	tree = (int)syscall(SYS_open_tree, path, "", K_OPEN_TREE_CLONE | O_CLOEXEC | AT_EMPTY_PATH | K_AT_RECURSIVE);
	if (tree < 0 || mount_attr(tree, K_AT_RECURSIVE, &attr) || mount_move(tree, path))
		return -1;
	close(tree);
	close(path);
	return 0;
}
