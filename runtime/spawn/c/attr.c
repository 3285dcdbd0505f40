/* SPDX-License-Identifier: Apache-2.0 */
#include "stage.h"
#include "text.h"
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>

/* Through the host's /proc; self means the caller there too. */
int oom_score_write(int proc, long score)
{
	char text[24];
	int fd = openat(proc, "self/oom_score_adj", O_WRONLY | O_CLOEXEC), result, err;

	if (fd < 0)
		return -1;
	text_format(text, sizeof text, "%d", score);
	result = write(fd, text, strlen(text)) < 0 ? -1 : 0;
	err = errno;
	close(fd);
	errno = err;
	return result;
}

int do_oom_score(struct stage *st)
{
	say(st, "write %d to oom_score_adj", (long)st->step->a);
	return oom_score_write(st->proc, (long)st->step->a);
}

int do_setsid(struct stage *st)
{
	say(st, "make session");
	return setsid() < 0 ? -1 : 0;
}

int do_dup(struct stage *st)
{
	int from = st->files[st->step->fd], to = (int)st->step->a;

	/* A received descriptor is never below LOW_FDS, so from is not to. */
	say(st, "make descriptor %d", (long)to);
	return dup2(from, to) < 0 ? -1 : 0;
}

int do_null(struct stage *st)
{
	say(st, "make descriptor %d", (long)st->step->a);
	return dup2(st->null, (int)st->step->a) < 0 ? -1 : 0;
}

int do_rlimit(struct stage *st)
{
	struct rlimit r = {.rlim_cur = st->step->b, .rlim_max = st->step->c};

	say(st, "set rlimit %d", (long)st->step->a);
	return (int)syscall(SYS_prlimit64, 0, (int)st->step->a, &r, NULL);
}

int do_umask(struct stage *st)
{
	umask((mode_t)st->step->a);
	return 0;
}

/* In the root, whatever magic links an image's working directory goes through:
 * a descriptor of the host must not have directories made below it. */
static int make_directories(struct stage *st, const char *path)
{
	int fd = path_make(st, path, KIND_DIR, NULL);

	return fd < 0 ? -1 : close(fd);
}

int do_chdir(struct stage *st)
{
	const char *path = text_of(st, 0);
	char where[4096];

	say(st, "chdir %s", path);
	if (chdir(path)) {
		if (errno != ENOENT || !(st->step->flags & STEP_MKDIR) || make_directories(st, path) || chdir(path))
			return -1;
	}
	/* A path through a leaked descriptor would lead out of the root; the
	 * kernel then has no absolute name for it. */
	if (syscall(SYS_getcwd, where, sizeof where) < 0)
		return -1;
	if (where[0] != '/') {
		say(st, "chdir %s: outside the root", path);
		errno = EPERM;
		return -1;
	}
	return 0;
}

int do_no_new_privs(struct stage *st)
{
	say(st, "set no_new_privs");
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}
