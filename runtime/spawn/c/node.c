/* SPDX-License-Identifier: Apache-2.0 */
/* What the stage makes in the root: devices, links, directories. */
#include "stage.h"
#include "text.h"
#include <sys/stat.h>

/* Where a user namespace forbids mknod, the host's node is bound instead. The
 * path is the container's, by which the host may call something else. */
static int bind_device(struct stage *st)
{
	int tree = (int)syscall(SYS_open_tree, AT_FDCWD, text_of(st, 1), K_OPEN_TREE_CLONE | O_CLOEXEC), target;
	struct stat s;

	if (tree < 0 || fstat(tree, &s))
		return -1;
	if ((s.st_mode & S_IFMT) != (st->step->a & S_IFMT) || (unsigned)s.st_rdev != (unsigned)st->step->b) {
		say(st, "bind device %s: the host's is another", text_of(st, 1));
		errno = ENODEV;
		return -1;
	}
	target = path_mount_point(st, text_of(st, 2), KIND_FILE, NULL);
	if (target < 0 || mount_move(tree, target))
		return -1;
	close(tree);
	close(target);
	return 0;
}

int do_mknod(struct stage *st)
{
	mode_t mode = (mode_t)st->step->a;
	struct place p;

	say(st, "make device %s", text_of(st, 2));
	if (path_parent(st, text_of(st, 2), &p))
		return -1;
	if (syscall(SYS_mknodat, p.dir, p.name, mode, (unsigned)st->step->b)) {
		if (errno == EPERM && st->step->flags & STEP_BIND_DEV && len_of(st, 1))
			return bind_device(st);
		/* What the image has at that place stays, as with runc: steps
		 * that rely on a device (masks, the terminal) have their own. */
		if (errno != EEXIST)
			return -1;
		close(p.dir);
		return 0;
	}
	if (st->step->c && fchownat(p.dir, p.name, (uid_t)(st->step->c >> 32), (gid_t)st->step->c, AT_SYMLINK_NOFOLLOW))
		return -1;
	close(p.dir);
	return 0;
}

int do_symlink(struct stage *st)
{
	struct place p;

	say(st, "link %s to %s", text_of(st, 2), text_of(st, 0));
	if (path_parent(st, text_of(st, 2), &p) || (symlinkat(text_of(st, 0), p.dir, p.name) && errno != EEXIST))
		return -1;
	close(p.dir);
	return 0;
}

int do_mkdir(struct stage *st)
{
	struct place p;

	say(st, "make directory %s", text_of(st, 2));
	if (path_parent(st, text_of(st, 2), &p) || (mkdirat(p.dir, p.name, (mode_t)st->step->a) && errno != EEXIST))
		return -1;
	close(p.dir);
	return 0;
}
