/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An aide: a child that the stage has for a moment, because the maps of a user
 * namespace are written by somebody outside of it. It has no exit signal, so
 * nobody is told of its end; a stage that dies leaves it with a socket that
 * ends, and it ends too.
 */
#include "aide.h"
#include "text.h"
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

int aide_start(struct stage *st, struct aide *a, uint64_t flags, aide_func *run)
{
	struct k_clone_args args = {.flags = flags};
	int pair[2], err;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return -1;
	a->pid = (pid_t)syscall(SYS_clone3, &args, sizeof args);
	if (a->pid == 0) {
		close(pair[0]);
		a->sock = pair[1];
		_exit(run(st, a));
	}
	err = errno;
	close(pair[1]);
	a->sock = pair[0];
	if (a->pid > 0)
		return 0;
	close(a->sock);
	errno = err;
	return -1;
}

/* What the aide said stays said: nothing here speaks. */
int aide_end(struct aide *a)
{
	siginfo_t si = {0};
	long result;

	close(a->sock);
	do
		result = syscall(SYS_waitid, K_P_PID, a->pid, &si, WEXITED | K_WALL, NULL);
	while (result && errno == EINTR);
	if (result)
		return -1;
	if (si.si_code == CLD_EXITED && si.si_status == 0)
		return 0;
	/* 128 and more: a signal ended it, see signals_end_the_stage. */
	errno = si.si_code == CLD_EXITED && si.si_status < 128 ? si.si_status : EINTR;
	return -1;
}

union one_fd {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(int))];
};

int aide_send(const struct aide *a, const void *buf, size_t len, int fd)
{
	struct iovec iov = {(void *)buf, len};
	union one_fd control = {.align = {.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof fd)}};
	struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1};

	if (fd >= 0) {
		memcpy(CMSG_DATA(&control.align), &fd, sizeof fd);
		h.msg_control = control.bytes;
		h.msg_controllen = sizeof control.bytes;
	}
	return sendmsg(a->sock, &h, MSG_NOSIGNAL) == (ssize_t)len ? 0 : -1;
}

int aide_receive(const struct aide *a, void *buf, size_t len, int *fd)
{
	struct iovec iov = {buf, len};
	union one_fd control;
	struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = fd ? sizeof control.bytes : 0};
	ssize_t n = recvmsg(a->sock, &h, MSG_CMSG_CLOEXEC);

	if (n <= 0 || (fd && (h.msg_flags & MSG_CTRUNC || !CMSG_FIRSTHDR(&h)))) {
		errno = n < 0 ? errno : EPIPE;
		return -1;
	}
	if (fd)
		memcpy(fd, CMSG_DATA(&control.align), sizeof *fd);
	return 0;
}

int proc_self(struct stage *st, char *name, size_t cap)
{
	ssize_t n = readlinkat(st->proc, "self", name, cap - 1);

	if (n <= 0)
		return -1;
	name[n] = 0;
	return 0;
}

/* A map in one line: "0 100000 1000, 1000 200000 1". */
static void in_one_line(char *out, size_t cap, const char *map)
{
	size_t n = 0;

	for (; *map && n + 6 < cap; map++) {
		if (*map != '\n')
			out[n++] = *map;
		else if (map[1])
			out[n++] = ',', out[n++] = ' ';
	}
	memcpy(out + n, *map ? "..." : "", *map ? 4 : 1);
}

/* The kernel takes a map in one write only. */
static int map_write(struct stage *st, const char *pid, const char *file, const char *map)
{
	char path[64], text[160];
	int fd, result;

	if (!*map)
		return 0;
	in_one_line(text, sizeof text, map);
	say(st, "write %s %q", file, text);
	text_format(path, sizeof path, "%s/%s", pid, file);
	fd = openat(st->proc, path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	result = write(fd, map, strlen(map)) == (ssize_t)strlen(map) ? 0 : -1;
	if (result && errno == EINVAL)
		say(st, "write %s %q: the ranges overlap, or the kernel takes fewer", file, text);
	if (result && errno == EPERM)
		say(st, "write %s %q: needs CAP_SETUID, CAP_SETGID and CAP_SETFCAP over the ids outside", file, text);
	close(fd);
	return result;
}

int maps_write(struct stage *st, const char *pid, const char *uids, const char *gids)
{
	return map_write(st, pid, "uid_map", uids) || map_write(st, pid, "gid_map", gids) ? -1 : 0;
}
