/* SPDX-License-Identifier: Apache-2.0 */
#include "stage.h"
#include "text.h"
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* 0 when path can be executed; ENOENT, EACCES or another errno otherwise. */
static int executable(const char *path)
{
	struct stat s;

	if (stat(path, &s))
		return errno;
	if (!S_ISREG(s.st_mode) || syscall(SYS_faccessat, AT_FDCWD, path, X_OK))
		return EACCES;
	return 0;
}

static int search(struct stage *st, const char *name)
{
	const char *dir = text_of(st, 1), *end;
	int found = ENOENT, err;

	for (;; dir = end + 1) {
		size_t len;

		end = dir + strcspn(dir, ":");
		len = (size_t)(end - dir);
		if (len + strlen(name) + 3 < sizeof st->program) {
			memcpy(st->program, len ? dir : ".", len ? len : 1);
			text_format(st->program + (len ? len : 1), sizeof st->program - len - 1, "/%s", name);
			err = executable(st->program);
			if (err == 0)
				return 0;
			if (err == EACCES)
				found = EACCES;
		}
		if (!*end)
			return found;
	}
}

int do_lookup(struct stage *st)
{
	const char *name = text_of(st, 0);
	int err;

	own_null();
	if (st->step->flags & STEP_HOME)
		home_find(st, (unsigned)st->step->a);
	say(st, "exec %q", name);
	if (strchr(name, '/')) {
		text_format(st->program, sizeof st->program, "%s", name);
		err = executable(name);
	} else {
		err = search(st, name);
		if (err == ENOENT)
			say(st, "exec %q: executable file not found in $PATH", name);
	}
	errno = err;
	return err ? -1 : 0;
}

/* The pointers to the parts of a NUL separated list, as execve wants them. */
static char **vector(struct stage *st, int n)
{
	const char *p = text_of(st, n), *end = p + len_of(st, n);
	size_t count = p < end;
	char **v;

	for (const char *c = p; c < end; c++)
		count += *c == 0;
	v = mmap(STAGE_MEMORY(n + 1), (count + 1) * sizeof *v, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (v == MAP_FAILED)
		return NULL;
	for (size_t i = 0; i < count; i++, p += strlen(p) + 1)
		v[i] = (char *)p;
	return v;
}

static int execute(struct stage *st, const char *path)
{
	char **argv, **envp;

	say(st, "exec %q", path);
	argv = vector(st, 0);
	envp = vector(st, 1);
	if (!argv || !envp)
		return -1;
	for (char **e = envp; *e && st->home[0]; e++)
		if (!strncmp(*e, "HOME=", 5))
			*e = st->home;
	if (!st->plan->umask)
		umask(022);
	execve(path, argv, envp);
	return -1;
}

int do_exec(struct stage *st)
{
	if (st->step->flags & STEP_INIT && init_fork(st))
		return -1;
	return execute(st, st->program);
}

int do_exec_host(struct stage *st)
{
	return execute(st, text_of(st, 2));
}
