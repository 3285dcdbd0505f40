/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies what a directory of the image holds into the tmpfs that is to cover
 * it, while that is still detached. Names are opened one at a time, in a
 * directory that is held open and without following links, so the copy stays
 * in the tree however that is changed meanwhile. No recursion: a frame for
 * each level, whose directory is read on from where a subdirectory was found.
 */
#include "stage.h"
#include "copy_up.h"
#include "text.h"
#include <string.h>
#include <sys/stat.h>

#define MAX_DEPTH 100 /* two descriptors each */

struct frame {
	int from, to;
	uint64_t next; /* cookie of where to read on */
};

struct k_dirent {
	uint64_t ino, next;
	uint16_t len;
	uint8_t type;
	char name[];
};

static int make_link(struct copy *c, int from, int to, const char *name)
{
	ssize_t n = readlinkat(from, name, c->data, sizeof c->data - 1);

	if (n < 0)
		return -1;
	c->data[n] = 0;
	return symlinkat(c->data, to, name);
}

/* Whatever is no directory. */
static int copy_entry(struct copy *c, const struct frame *f, const char *name, const struct stat *s)
{
	int made;

	if (S_ISREG(s->st_mode))
		return copy_file(c, f->from, f->to, name);
	if (S_ISLNK(s->st_mode))
		made = make_link(c, f->from, f->to, name);
	else
		made = mknodat(f->to, name, s->st_mode & (S_IFMT | 07777), s->st_rdev);
	return made ? -1 : copy_looks_at(f->to, name, s);
}

static int enter(struct frame *child, const struct frame *f, const char *name)
{
	const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

	if (mkdirat(f->to, name, 0700))
		return -1;
	child->next = 0;
	child->from = openat(f->from, name, flags);
	child->to = child->from < 0 ? -1 : openat(f->to, name, flags);
	return child->to < 0 ? -1 : 0;
}

/* Its times come last: what is made in a directory changes them. */
static int leave(struct copy *c, struct frame *f)
{
	if (copy_looks(c, f->from, f->to))
		return -1;
	close(f->from);
	close(f->to);
	return 0;
}

static bool is_dots(const char *name)
{
	return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

/* Copies entries of f until there are no more (0), one is a directory, which is
 * entered as f[1] (1), or one cannot be copied (-1, its name in c). */
static int copy_some(struct copy *c, struct frame *f, bool deepest)
{
	char buf[4096] __attribute__((aligned(8)));

	if (lseek(f->from, (off_t)f->next, SEEK_SET) < 0)
		return -1;
	for (;;) {
		long n = syscall(SYS_getdents64, f->from, buf, sizeof buf);

		if (n <= 0)
			return (int)n;
		for (long at = 0; at < n;) {
			const struct k_dirent *d = (const void *)(buf + at);
			struct stat s;

			at += d->len;
			f->next = d->next;
			if (is_dots(d->name))
				continue;
			text_format(c->name, sizeof c->name, "%s", d->name);
			if (fstatat(f->from, d->name, &s, AT_SYMLINK_NOFOLLOW))
				return -1;
			if (!S_ISDIR(s.st_mode)) {
				if (copy_entry(c, f, d->name, &s))
					return -1;
				continue;
			}
			if (deepest) {
				errno = ENAMETOOLONG;
				return -1;
			}
			return enter(f + 1, f, d->name) ? -1 : 1;
		}
	}
}

static int copy_tree(struct copy *c, struct frame *frames)
{
	int depth = 0;

	while (depth >= 0) {
		int more = copy_some(c, &frames[depth], depth == MAX_DEPTH - 1);

		if (more < 0)
			return -1;
		if (more)
			depth++;
		else if (depth == 0 || leave(c, &frames[depth]) == 0)
			depth--;
		else
			return -1;
	}
	return 0;
}

/* The mount's own root is not touched: its mode and owner are those of the
 * mount's options. */
int copy_up(struct stage *st, int target, int mount)
{
	struct frame frames[MAX_DEPTH];
	struct copy c;

	c.name[0] = 0;
	frames[0].next = 0;
	frames[0].from = openat(target, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	frames[0].to = openat(mount, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (frames[0].from >= 0 && frames[0].to >= 0 && copy_tree(&c, frames) == 0) {
		close(frames[0].from);
		close(frames[0].to);
		return 0;
	}
	say(st, "copy what %s holds into the tmpfs on it: %q", text_of(st, 2), c.name);
	return -1;
}
