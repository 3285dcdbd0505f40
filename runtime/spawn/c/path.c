/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Paths below the container's root. The kernel resolves every one of them
 * there (RESOLVE_IN_ROOT), so a link of the image cannot lead out, and what is
 * made is made by one name in a directory that is held open, so nothing can be
 * exchanged in between.
 */
#include "stage.h"
#include "fds.h"
#include "text.h"
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#define MAX_LINKS 40
#define MAX_ROUNDS 4096

int root_fd(struct stage *st)
{
	if (st->root < 0)
		st->root = fd_above(open("/", O_PATH | O_DIRECTORY | O_CLOEXEC), LOW_FDS);
	return st->root;
}

int path_open(struct stage *st, const char *path, uint64_t flags)
{
	struct k_open_how how = {.flags = flags | O_CLOEXEC, .resolve = K_IN_ROOT | K_NO_MAGICLINKS};
	int root = root_fd(st), fd, tries = 0;

	if (root < 0)
		return -1;
	do /* EAGAIN: something was renamed meanwhile, the kernel could not be sure */
		fd = (int)syscall(SYS_openat2, root, *path ? path : ".", &how, sizeof how);
	while (fd < 0 && errno == EAGAIN && ++tries < 128);
	return fd;
}

/* Replaces the component [at, end) of path, which is a link, by where it leads. */
static int follow(char *path, size_t at, size_t end, int dir)
{
	char name[256], target[4096], whole[4096];
	ssize_t n;

	memcpy(name, path + at, end - at);
	name[end - at] = 0;
	n = readlinkat(dir, name, target, sizeof target - 1);
	if (n < 0)
		return errno == EINVAL ? 0 : -1; /* EINVAL: made by another just now */
	target[n] = 0;
	path[target[0] == '/' ? 0 : at] = 0;
	if (strlen(path) + (size_t)n + strlen(path + end) + 2 >= sizeof whole) {
		errno = ENAMETOOLONG;
		return -1;
	}
	text_format(whole, sizeof whole, "%s%s%s", *path ? path : "", target, path + end);
	strcpy(path, whole);
	return 0;
}

static int make_one(int dir, const char *name, enum kind kind)
{
	int fd;

	if (kind == KIND_DIR)
		return mkdirat(dir, name, 0755);
	fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0755);
	if (fd >= 0)
		close(fd);
	return fd < 0 ? -1 : 0;
}

/* Makes the component [at, end) in dir, or when a link that leads nowhere has
 * its name, puts the link's target into path. */
static int make_or_follow(char *path, size_t at, size_t end, int dir, enum kind kind)
{
	size_t rest = strspn(path + end, "/");
	char name[256];

	if (end - at >= sizeof name) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(name, path + at, end - at);
	name[end - at] = 0;
	if (make_one(dir, name, path[end + rest] ? KIND_DIR : kind) == 0)
		return 0;
	return errno == EEXIST ? follow(path, at, end, dir) : -1;
}

/* Makes the first missing component of path. */
static int make_next(struct stage *st, char *path, enum kind kind)
{
	int dir = path_open(st, "/", O_PATH | O_DIRECTORY), next, result;
	size_t at = 0, end;
	char kept;

	while (dir >= 0) {
		at += strspn(path + at, "/");
		end = at + strcspn(path + at, "/");
		if (at == end) /* it is all there now: another made it */
			break;
		kept = path[end];
		path[end] = 0;
		next = path_open(st, path, O_PATH | (kept ? O_DIRECTORY : 0));
		path[end] = kept;
		if (next < 0) {
			result = errno == ENOENT ? make_or_follow(path, at, end, dir, kind) : -1;
			close(dir);
			return result;
		}
		close(dir);
		dir = next;
		at = end;
	}
	if (dir < 0)
		return -1;
	close(dir);
	return 0;
}

int path_make(struct stage *st, const char *path, enum kind kind, bool *existed)
{
	char rest[4096];
	int fd;

	if (strlen(path) >= sizeof rest) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(rest, path);
	for (int round = 0; round < MAX_ROUNDS; round++) {
		fd = path_open(st, rest, O_PATH | (kind == KIND_DIR ? O_DIRECTORY : 0));
		if (existed)
			*existed = round == 0;
		if (fd >= 0 || errno != ENOENT)
			return fd;
		if (make_next(st, rest, kind))
			return -1;
	}
	errno = ELOOP;
	return -1;
}

static bool same_file(int a, int b)
{
	struct stat x, y;

	return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/*
 * Like path_make. Into /proc leads a path that says so and no link: a mount
 * there hides or fakes what the kernel says, also where that is to be masked.
 * Nothing leads to the root: init would not see the mount, and execs nothing else.
 */
int path_mount_point(struct stage *st, const char *path, enum kind kind, bool *existed)
{
	struct k_open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = K_IN_ROOT | K_NO_SYMLINKS};
	int fd = path_make(st, path, kind, existed);
	struct statfs fs;

	if (fd < 0 || fstatfs(fd, &fs))
		return -1;
	if (same_file(fd, root_fd(st))) {
		say(st, "mount on %s: a link leads to the root", path);
		errno = ELOOP;
		return -1;
	}
	if (fs.f_type != K_PROC_MAGIC)
		return fd;
	close(fd);
	fd = (int)syscall(SYS_openat2, root_fd(st), path, &how, sizeof how);
	if (fd < 0 && errno == ELOOP)
		say(st, "mount on %s: a link leads into /proc", path);
	return fd;
}

int path_parent(struct stage *st, const char *path, struct place *p)
{
	char parent[4096];
	size_t end = strlen(path), at;

	while (end && path[end - 1] == '/')
		end--;
	for (at = end; at && path[at - 1] != '/'; at--)
		;
	if (end - at == 0 || end - at >= sizeof p->name || end >= sizeof parent) {
		errno = EINVAL;
		return -1;
	}
	memcpy(p->name, path + at, end - at);
	p->name[end - at] = 0;
	memcpy(parent, path, at);
	parent[at] = 0;
	if (!strcmp(p->name, ".") || !strcmp(p->name, "..")) {
		errno = EINVAL;
		return -1;
	}
	p->dir = path_make(st, parent, KIND_DIR, NULL);
	return p->dir < 0 ? -1 : 0;
}

bool path_is_char(int fd, unsigned maj, unsigned min)
{
	struct stat s;

	return fstat(fd, &s) == 0 && S_ISCHR(s.st_mode) && major(s.st_rdev) == maj && minor(s.st_rdev) == min;
}
