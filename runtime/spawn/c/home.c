/* SPDX-License-Identifier: Apache-2.0 */
/* The home directory that the image's /etc/passwd gives a user; passwd(5). */
#include "stage.h"
#include "text.h"
#include <string.h>
#include <sys/stat.h>

/* No list of users is longer; a link to something without an end may be. */
#define MAX_READ (1u << 20)

struct lines {
	int fd;
	size_t total;
	size_t have, used;
	char buf[4096];
};

/* The next line without its end, NULL at the end of the file. What does not fit
 * into the buffer comes in pieces: none of them is the line of a user. */
static char *next_line(struct lines *l)
{
	for (;;) {
		char *start = l->buf + l->used, *end = memchr(start, '\n', l->have - l->used);
		ssize_t n;

		if (end) {
			*end = 0;
			l->used = (size_t)(end - l->buf) + 1;
			return start;
		}
		memmove(l->buf, start, l->have -= l->used);
		l->used = 0;
		if (l->have == sizeof l->buf - 1)
			l->have = 0;
		n = l->total > MAX_READ ? 0 : read(l->fd, l->buf + l->have, sizeof l->buf - 1 - l->have);
		if (n > 0) {
			l->have += (size_t)n;
			l->total += (size_t)n;
			continue;
		}
		if (l->have == 0)
			return NULL;
		l->buf[l->have] = 0; /* the last line may lack its end */
		l->have = 0;
		return l->buf;
	}
}

/* Field n of a line, not terminated; NULL when there are fewer. */
static const char *field(const char *line, int n)
{
	for (; n > 0 && line; n--) {
		line = strchr(line, ':');
		line = line ? line + 1 : NULL;
	}
	return line;
}

static bool is_number(const char *text, unsigned want)
{
	uint64_t n = 0;
	const char *p = text;

	for (; *p >= '0' && *p <= '9' && n <= UINT32_MAX; p++)
		n = n * 10 + (unsigned)(*p - '0');
	return p > text && *p == ':' && n == want;
}

/* Takes the line when it is the user's: NAME:PASSWORD:UID:GID:GECOS:DIR:SHELL. */
static bool take_line(struct stage *st, char *line, unsigned uid)
{
	const char *number = field(line, 2);
	char *dir = (char *)field(line, 5);

	if (!number || !dir || !is_number(number, uid))
		return false;
	dir[strcspn(dir, ":")] = 0;
	if (*dir && strlen(dir) + sizeof "HOME=" <= sizeof st->home)
		text_format(st->home, sizeof st->home, "HOME=%s", dir);
	return true;
}

/* An image may have anything in this place: only a regular file is read. */
void home_find(struct stage *st, unsigned uid)
{
	struct lines l = {.fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)};
	struct stat s;
	char *line;

	if (l.fd < 0)
		return;
	if (fstat(l.fd, &s) == 0 && S_ISREG(s.st_mode))
		while ((line = next_line(&l)) && !take_line(st, line, uid))
			;
	close(l.fd);
}
