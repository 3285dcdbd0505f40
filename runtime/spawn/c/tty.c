/* SPDX-License-Identifier: Apache-2.0 */
#include "fds.h"
#include "stage.h"
#include "text.h"
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <termios.h>

/* The multiplexer of the container's own devpts, and of nothing else that an
 * image may have put there. */
static int open_master(struct stage *st)
{
	struct k_open_how how = {.flags = O_RDWR | O_NOCTTY | O_CLOEXEC, .resolve = K_IN_ROOT | K_NO_SYMLINKS};
	struct statfs fs;
	int unlock = 0, fd;

	if (root_fd(st) < 0)
		return -1;
	fd = fd_above((int)syscall(SYS_openat2, st->root, "dev/pts/ptmx", &how, sizeof how), LOW_FDS);
	if (fd < 0)
		return -1;
	if (fstatfs(fd, &fs) || fs.f_type != K_DEVPTS_MAGIC || !path_is_char(fd, 5, 2)) {
		errno = ENODEV;
		return -1;
	}
	return ioctl(fd, TIOCSPTLCK, &unlock) ? -1 : fd;
}

static int set_up_slave(struct stage *st, int slave)
{
	uint64_t a = st->step->a, b = st->step->b;
	struct winsize size = {.ws_row = (unsigned short)(b >> 16), .ws_col = (unsigned short)b};

	if (b && ioctl(slave, TIOCSWINSZ, &size))
		return -1;
	return fchown(slave, (uid_t)(a >> 32), (gid_t)a);
}

/* /dev/console of the container is its terminal. */
static int bind_console(struct stage *st, int slave)
{
	int tree, target;

	say(st, "bind the terminal on /dev/console");
	tree = (int)syscall(SYS_open_tree, slave, "", K_OPEN_TREE_CLONE | O_CLOEXEC | AT_EMPTY_PATH);
	target = tree < 0 ? -1 : path_mount_point(st, "dev/console", KIND_FILE, NULL);
	if (target < 0 || mount_move(tree, target))
		return -1;
	close(tree);
	close(target);
	return 0;
}

int do_tty(struct stage *st)
{
	int slave;

	say(st, "open terminal /dev/pts/ptmx");
	st->master = open_master(st);
	if (st->master < 0)
		return -1;
	slave = fd_above(ioctl(st->master, K_TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC), LOW_FDS);
	if (slave < 0)
		return -1;
	say(st, "set size and owner of the terminal");
	if (set_up_slave(st, slave))
		return -1;
	if (st->step->flags & STEP_CONSOLE && bind_console(st, slave))
		return -1;
	say(st, "make the terminal the controlling one");
	if (ioctl(slave, TIOCSCTTY, 0))
		return -1;
	if (dup2(slave, 0) < 0 || dup2(slave, 1) < 0 || dup2(slave, 2) < 0)
		return -1;
	close(slave);
	return 0;
}
