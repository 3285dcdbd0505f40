/* SPDX-License-Identifier: Apache-2.0 */
#include "stage.h"
#include "fds.h"
#include "text.h"
#include <sys/mount.h>

/* pivot_root refuses a root whose parent mount is shared, and a bind made
 * below a shared mount would appear on the host. */
static int make_parent_private(int dir)
{
	struct k_mount_attr attr = {.propagation = MS_PRIVATE};
	struct k_statx s;
	int at = fcntl(dir, F_DUPFD_CLOEXEC, LOW_FDS), up, result;

	for (;;) {
		if (at < 0 || syscall(SYS_statx, at, "", AT_EMPTY_PATH, K_STATX_BASIC, &s))
			return -1;
		if (s.attributes & K_STATX_MOUNT_ROOT)
			break;
		up = openat(at, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
		close(at);
		at = up;
	}
	result = mount_attr(at, 0, &attr);
	close(at);
	return result;
}

/* Does already what OP_ROOT does by path, for whom the user namespace that is
 * entered next may not let search the directories on the way. */
int root_approach(struct stage *st, const char *path)
{
	int dir;

	say(st, "open root %s", path);
	dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return -1;
	say(st, "make parent mount of root %s private", path);
	if (make_parent_private(dir) || fchdir(dir))
		return -1;
	close(dir);
	st->at_root = true;
	return 0;
}

int do_root(struct stage *st)
{
	int dir, tree;

	if (!st->at_root && root_approach(st, text_of(st, 2)))
		return -1;
	say(st, "open root %s", text_of(st, 2));
	dir = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0 || chdir("/"))
		return -1;
	say(st, "bind root %s onto itself", text_of(st, 2));
	tree = (int)syscall(SYS_open_tree, dir, "", K_OPEN_TREE_CLONE | O_CLOEXEC | AT_EMPTY_PATH | K_AT_RECURSIVE);
	if (tree < 0 || mount_move(tree, dir))
		return -1;
	close(dir);
	if (st->root >= 0)
		close(st->root);
	st->root = fd_above(tree, LOW_FDS);
	return st->root < 0 ? -1 : 0;
}

static int pivot(struct stage *st)
{
	int old = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (old < 0 || fchdir(st->root) || syscall(SYS_pivot_root, ".", "."))
		return -1;
	/* The old root lies on top of the new one now. Unmounting it must not
	 * reach the host, should the host share its mounts with us. */
	if (fchdir(old) || mount(NULL, ".", NULL, MS_SLAVE | MS_REC, NULL) || umount2(".", MNT_DETACH))
		return -1;
	close(old);
	return chdir("/");
}

/* Of a root that was only chrooted into, whole copies of proc and sysfs would
 * stay reachable; the kernel grants new mounts of them on their strength. */
static int hide(const char *path)
{
	if (umount2(path, MNT_DETACH) == 0 || errno == ENOENT)
		return 0;
	return mount("tmpfs", path, "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
}

static int move_and_chroot(struct stage *st)
{
	if (mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) || hide("/proc") || hide("/sys"))
		return -1;
	if (fchdir(st->root) || mount(".", "/", NULL, MS_MOVE, NULL) || chroot("."))
		return -1;
	return chdir("/");
}

int do_pivot(struct stage *st)
{
	if (st->plan->masks && (st->null_mount = null_take(st)) < 0)
		return -1;
	say(st, "change root");
	return st->step->a ? move_and_chroot(st) : pivot(st);
}

int do_root_readonly(struct stage *st)
{
	struct k_mount_attr attr = {.set = K_ATTR_RDONLY};

	say(st, "make root read-only");
	return mount_attr(st->root, 0, &attr);
}
