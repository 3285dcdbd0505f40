/* SPDX-License-Identifier: Apache-2.0 */
#include "stage.h"
#include "text.h"
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

int mount_attr(int fd, unsigned flags, const struct k_mount_attr *want)
{
	struct k_mount_attr a = *want;

	/* The access time modes are one field, not bits: to set one is to clear all. */
	if ((a.set | a.clr) & K_ATTR_ATIME)
		a.clr |= K_ATTR_ATIME;
	return (int)syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH | flags, &a, sizeof a);
}

/*
 * In a user namespace the attributes that the host gave are locked, and stay
 * where the plan would have them cleared: as runc has it.
 */
int mount_change(struct stage *st, int fd, unsigned flags, const struct k_mount_attr *want)
{
	struct k_mount_attr times = {.set = want->set & K_ATTR_ATIME, .clr = K_ATTR_ATIME}, set = {.set = want->set & ~K_ATTR_ATIME};

	if (mount_attr(fd, flags, want) == 0)
		return 0;
	if (errno != EPERM || !st->entered)
		return -1;
	for (uint64_t bit = 1; bit <= K_ATTR_KNOWN; bit <<= 1) {
		struct k_mount_attr one = {.clr = want->clr & bit & ~K_ATTR_ATIME};

		if (one.clr && mount_attr(fd, flags, &one) && errno != EPERM)
			return -1;
	}
	if ((want->set | want->clr) & K_ATTR_ATIME && mount_attr(fd, flags, &times) && errno != EPERM)
		return -1;
	return set.set ? mount_attr(fd, flags, &set) : 0;
}

int mount_move(int mount, int target)
{
	return (int)syscall(SYS_move_mount, mount, "", target, "", K_MOVE_F_EMPTY | K_MOVE_T_EMPTY);
}

/* flags is MS_SHARED and the like, perhaps several, perhaps with MS_REC. */
int propagation_set(int fd, uint64_t flags)
{
	static const uint64_t order[] = {MS_PRIVATE, MS_UNBINDABLE, MS_SLAVE, MS_SHARED};

	for (unsigned i = 0; i < 4; i++) {
		struct k_mount_attr a = {.propagation = order[i]};

		if (flags & order[i] && mount_attr(fd, flags & MS_REC ? K_AT_RECURSIVE : 0, &a))
			return -1;
	}
	return 0;
}

int do_propagate(struct stage *st)
{
	if (mount(NULL, "/", NULL, (unsigned long)st->step->a, NULL)) {
		say(st, "change propagation of /");
		return -1;
	}
	return 0;
}

/* A mount of the Create request: a host path, by mount(2), as containerd means
 * it. The plan splits binds, remounts and propagation into calls. */
int do_mount_host(struct stage *st)
{
	const char *type = len_of(st, 0) ? text_of(st, 0) : NULL, *source = len_of(st, 1) ? text_of(st, 1) : NULL;
	const char *data = len_of(st, 3) ? text_of(st, 3) : NULL;
	unsigned long flags = (unsigned long)st->step->a;

	if (st->step->flags & STEP_LOOP) {
		if (loop_attach(st, source, flags & MS_RDONLY))
			return -1;
		source = st->loop.name;
		flags |= st->loop.readonly ? MS_RDONLY : 0;
	}
	say(st, "mount %s on %s", type ? type : source ? source : "again", text_of(st, 2));
	if (mount(source, text_of(st, 2), type, flags, data))
		return -1;
	loop_leave(st);
	return 0;
}

/* Adds what the filesystem itself says about its failure. */
void mount_reason(struct stage *st, int fs)
{
	size_t len = strlen(st->slot->what);
	int err = errno;
	char line[160];
	ssize_t n = read(fs, line, sizeof line - 1);

	if (n > 2) {
		line[n] = 0;
		line[strcspn(line, "\n")] = 0;
		text_format(st->slot->what + len, sizeof st->slot->what - len, " (%s)", line + 2);
	}
	if (err == EPERM)
		userns_hint(st);
	errno = err;
}

int mount_option(int fs, const char *option)
{
	const char *eq = strchr(option, '=');
	char key[64];

	if (!eq)
		return (int)syscall(SYS_fsconfig, fs, K_FSCONFIG_FLAG, option, NULL, 0);
	if ((size_t)(eq - option) >= sizeof key) {
		errno = EINVAL;
		return -1;
	}
	memcpy(key, option, (size_t)(eq - option));
	key[eq - option] = 0;
	return (int)syscall(SYS_fsconfig, fs, K_FSCONFIG_STRING, key, eq + 1, 0);
}

static bool has_option(struct stage *st, const char *prefix)
{
	const char *o = text_of(st, 3), *end = o + len_of(st, 3);

	for (; o < end; o += strlen(o) + 1)
		if (!strncmp(o, prefix, strlen(prefix)))
			return true;
	return false;
}

/* A tmpfs over a directory of the image looks like that directory. */
static int take_mode(struct stage *st, int fs, int target)
{
	struct stat s;
	char mode[] = "mode=00000";

	if (strcmp(text_of(st, 0), "tmpfs") || has_option(st, "mode=") || fstat(target, &s))
		return 0;
	for (int i = 0; i < 5; i++)
		mode[9 - i] = (char)('0' + (s.st_mode >> (3 * i) & 7));
	mode[5] = '0'; /* the type of the file */
	return mount_option(fs, mode);
}

static int configure_all(struct stage *st, int fs, int target)
{
	const char *o = text_of(st, 3), *end = o + len_of(st, 3);
	bool loop = st->step->flags & STEP_LOOP;
	const char *source = loop ? st->loop.name : text_of(st, 1);

	if (*source && syscall(SYS_fsconfig, fs, K_FSCONFIG_STRING, "source", source, 0))
		return -1;
	if (target >= 0 && take_mode(st, fs, target))
		return -1;
	if (loop && st->loop.readonly && mount_option(fs, "ro"))
		return -1;
	for (; o < end; o += strlen(o) + 1)
		if (*o && mount_option(fs, o)) {
			say(st, "mount %s on %s: option %s", text_of(st, 0), text_of(st, 2), o);
			return -1;
		}
	return (int)syscall(SYS_fsconfig, fs, K_FSCONFIG_CREATE, NULL, NULL, 0);
}

/* The target, which for proc and sysfs no link of the image may choose: what
 * is masked later lies below the path that was meant. */
static int mount_target(struct stage *st, bool *existed)
{
	struct k_open_how how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC, .resolve = K_IN_ROOT | K_NO_SYMLINKS};
	const char *type = text_of(st, 0), *path = text_of(st, 2);
	int fd = path_mount_point(st, path, KIND_DIR, existed);

	if (fd < 0 || (strcmp(type, "proc") && strcmp(type, "sysfs")))
		return fd;
	close(fd);
	return (int)syscall(SYS_openat2, root_fd(st), path, &how, sizeof how);
}

/* What is copied into it is written before it becomes read-only. */
static int make_mount(struct stage *st, int fs, int target)
{
	const struct k_mount_attr readonly = {.set = st->step->a & K_ATTR_RDONLY};
	bool copies = st->step->flags & STEP_COPY_UP;
	int mount = (int)syscall(SYS_fsmount, fs, 1, (unsigned)(st->step->a & ~(copies ? K_ATTR_RDONLY : 0)));

	if (mount < 0 || !copies)
		return mount;
	if (copy_up(st, target, mount) || (readonly.set && mount_attr(mount, 0, &readonly)))
		return -1;
	return mount;
}

static int attach_image(struct stage *st)
{
	bool readonly = st->step->a & K_ATTR_RDONLY || has_option(st, "ro");

	return st->step->flags & STEP_LOOP ? loop_attach(st, text_of(st, 1), readonly) : 0;
}

int do_mount(struct stage *st)
{
	int target, fs, mount = -1;
	bool existed;

	if (attach_image(st))
		return -1;
	say(st, "mount %s on %s: open target", text_of(st, 0), text_of(st, 2));
	target = mount_target(st, &existed);
	if (target < 0)
		return -1;
	say(st, "mount %s on %s", text_of(st, 0), text_of(st, 2));
	fs = (int)syscall(SYS_fsopen, text_of(st, 0), 1);
	if (fs < 0)
		return -1;
	if (mount_is_long(st)) {
		close(fs);
		return mount_long(st, target);
	}
	if (configure_all(st, fs, existed ? target : -1) == 0)
		mount = make_mount(st, fs, target);
	if (mount < 0 || mount_move(mount, target) || propagation_set(mount, st->step->c)) {
		mount_reason(st, fs);
		return -1;
	}
	close(fs);
	close(mount);
	close(target);
	loop_leave(st);
	return 0;
}
