/* SPDX-License-Identifier: Apache-2.0 */
#include "fds.h"
#include "ops.h"
#include "stage.h"
#include "text.h"
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#ifndef SLOW_FORK
#define SLOW_FORK 0 /* tests give microseconds, for what happens before the intermediate is gone */
#endif

static const struct {
	uint64_t flag;
	const char *name;
} names[] = {
	{NS_USER, "user"}, {NS_PID, "pid"}, {NS_NET, "net"}, {NS_IPC, "ipc"}, {NS_UTS, "uts"},
	{NS_CGROUP, "cgroup"}, {NS_TIME, "time"}, {NS_MNT, "mnt"},
};

static void say_namespaces(struct stage *st, const char *verb)
{
	char list[64] = "";

	for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
		if (st->step->a & names[i].flag) {
			strcat(list, " ");
			strcat(list, names[i].name);
		}
	say(st, "%s namespace%s", verb, list);
}

int do_setns(struct stage *st)
{
	if (st->step->a & NS_USER && userns_prepare(st))
		return -1;
	if (setns(st->files[st->step->fd], (int)st->step->a)) {
		say_namespaces(st, "join");
		return -1;
	}
	/* Where fs.suid_dumpable is 1 another owner's namespace undid it. */
	if (st->step->a & NS_USER)
		prctl(PR_SET_DUMPABLE, 0);
	if (!(st->step->a & NS_MNT))
		return 0;
	/* The root of what was joined; an earlier one lies elsewhere. */
	if (st->root >= 0)
		close(st->root);
	st->root = -1;
	st->at_root = false;
	return 0;
}

int do_unshare(struct stage *st)
{
	if (unshare((int)st->step->a)) {
		say_namespaces(st, "make");
		return -1;
	}
	return 0;
}

/*
 * A pid namespace that was joined or unshared holds only children born after
 * that; of a new one this child is the first process. The child
 * becomes the spawner's (CLONE_PARENT takes the exit signal of this process,
 * SIGCHLD; clone3 wants 0 in its place), and the kernel writes its number into
 * the slot page before it runs, so no instant exists at which it is unknown.
 */
int do_fork(struct stage *st)
{
	struct k_clone_args args = {.flags = K_CLONE_PARENT | K_CLONE_PARENT_SETTID};
	long pid;

	args.parent_tid = (uintptr_t)&st->slot->child;
	pid = syscall(SYS_clone3, &args, sizeof args);
	if (pid < 0) {
		say(st, "fork into the pid namespace");
		return -1;
	}
	if (pid > 0) {
		if (SLOW_FORK)
			usleep(SLOW_FORK);
		_exit(0);
	}
	return 0;
}

int do_cgroup1(struct stage *st)
{
	if (write(st->files[st->step->fd], "0", 1) != 1) {
		say(st, "join cgroup");
		return -1;
	}
	return 0;
}

int do_hostname(struct stage *st)
{
	if (sethostname(text_of(st, 0), len_of(st, 0))) {
		say(st, "set hostname %q", text_of(st, 0));
		return -1;
	}
	return 0;
}

int do_domainname(struct stage *st)
{
	if (syscall(SYS_setdomainname, text_of(st, 0), (size_t)len_of(st, 0))) {
		say(st, "set domainname %q", text_of(st, 0));
		return -1;
	}
	return 0;
}

int do_loopback(struct stage *st)
{
	struct ifreq r = {.ifr_name = "lo"};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &r))
		goto failed;
	r.ifr_flags |= IFF_UP;
	if (ioctl(fd, SIOCSIFFLAGS, &r))
		goto failed;
	close(fd);
	return 0;
failed:
	say(st, "bring up lo");
	return -1;
}

/* Below the host's own /proc, which the container cannot have replaced. */
int do_sysctl(struct stage *st)
{
	struct k_open_how how = {.flags = O_WRONLY | O_CLOEXEC, .resolve = K_BENEATH | K_NO_SYMLINKS};
	char path[4100];
	int fd, err;

	text_format(path, sizeof path, "sys/%s", text_of(st, 0));
	fd = (int)syscall(SYS_openat2, st->proc, path, &how, sizeof how);
	if (fd < 0) {
		say(st, "open /proc/%s", path);
		return -1;
	}
	if (write(fd, text_of(st, 1), len_of(st, 1)) < 0) {
		err = errno;
		say(st, "write %q to /proc/%s", text_of(st, 1), path);
		errno = err;
		return -1;
	}
	close(fd);
	return 0;
}

/* Readable and searchable by whom the keyring belongs to, or nothing in the
 * container could find a key that it adds. */
static void make_searchable(long ring)
{
	char text[256], *p = text;
	long n = syscall(SYS_keyctl, K_KEYCTL_DESCRIBE, ring, text, sizeof text - 1);
	unsigned long perm = 0;

	if (n <= 0 || n >= (long)sizeof text)
		return;
	text[n] = 0;
	for (int field = 0; field < 3 && (p = strchr(p, ';')); field++)
		p++;
	for (; p && *p && *p != ';'; p++)
		perm = perm * 16 + (unsigned long)(*p <= '9' ? *p - '0' : (*p | 32) - 'a' + 10);
	syscall(SYS_keyctl, K_KEYCTL_SETPERM, ring, perm | 0x080000);
}

int do_keyring(struct stage *st)
{
	long ring = syscall(SYS_keyctl, K_KEYCTL_JOIN_SESSION, text_of(st, 0));

	if (ring >= 0) {
		make_searchable(ring);
		return 0;
	}
	if (errno == ENOSYS) /* a kernel without keys has nothing to keep apart */
		return 0;
	say(st, "join session keyring %q", text_of(st, 0));
	return -1;
}
