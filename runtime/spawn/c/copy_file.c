/* SPDX-License-Identifier: Apache-2.0 */
#include "copy_up.h"
#include <string.h>
#include <sys/sendfile.h>
#include <sys/xattr.h>

/* EINVAL: an owner that the user namespace does not have. The copy stays its
 * maker's then, who could not give it to anybody by another way. */
static int give(int result)
{
	return result && errno != EINVAL ? -1 : 0;
}

static void times_of(const struct stat *s, struct timespec t[2])
{
	t[0] = s->st_atim;
	t[1] = s->st_mtim;
}

/* Best effort: tmpfs does not take all there are. */
static void copy_xattrs(struct copy *c, int from, int to)
{
	ssize_t names = flistxattr(from, c->data, sizeof c->data);

	for (ssize_t at = 0; at < names; at += (ssize_t)strlen(c->data + at) + 1) {
		ssize_t n = fgetxattr(from, c->data + at, c->value, sizeof c->value);

		if (n >= 0)
			(void)!fsetxattr(to, c->data + at, c->value, (size_t)n, 0);
	}
}

/* The owner first: its change takes set-user-id bits and file capabilities. */
int copy_looks(struct copy *c, int from, int to)
{
	struct timespec t[2];
	struct stat s;

	if (fstat(from, &s) || give(fchown(to, s.st_uid, s.st_gid)))
		return -1;
	copy_xattrs(c, from, to);
	times_of(&s, t);
	return fchmod(to, s.st_mode & 07777) || futimens(to, t) ? -1 : 0;
}

/* Of what cannot be opened without a side effect: links, devices, sockets. */
int copy_looks_at(int dir, const char *name, const struct stat *s)
{
	struct timespec t[2];

	times_of(s, t);
	if (give(fchownat(dir, name, s->st_uid, s->st_gid, AT_SYMLINK_NOFOLLOW)))
		return -1;
	if (!S_ISLNK(s->st_mode) && syscall(SYS_fchmodat, dir, name, s->st_mode & 07777))
		return -1;
	return utimensat(dir, name, t, AT_SYMLINK_NOFOLLOW);
}

static int copy_content(int from, int to)
{
	ssize_t n;

	while ((n = sendfile(to, from, NULL, 1 << 24)) > 0)
		;
	return (int)n;
}

int copy_file(struct copy *c, int from, int to, const char *name)
{
	/* Not to wait for a writer, should it have become a fifo just now; nor to
	 * copy a device that has no end. */
	int in = openat(from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC), out = -1, result = -1, err;
	struct stat s;

	if (in < 0)
		return -1;
	errno = ESTALE;
	if (fstat(in, &s) == 0 && S_ISREG(s.st_mode))
		out = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (out >= 0 && copy_content(in, out) == 0)
		result = copy_looks(c, in, out);
	err = errno;
	close(in);
	if (out >= 0)
		close(out);
	errno = err;
	return result;
}
