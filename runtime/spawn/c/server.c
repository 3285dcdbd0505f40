/* SPDX-License-Identifier: Apache-2.0 */
/* The server is the spawner's first child. */
#include "fds.h"
#include "ops.h"
#include "spawner.h"
#include "text.h"
#include <string.h>
#include <sys/socket.h>

extern char **environ;

struct server_birth {
	int sock, slots, ready, proc;
	struct birthright birth;
	char **argv;
};

static void give_back(const struct server_birth *b)
{
	uint64_t none = 0;
	char text[16];
	int fd;

	setrlimit(RLIMIT_NOFILE, &b->birth.nofile);
	if (b->birth.oom_changed && (fd = openat(b->proc, "self/oom_score_adj", O_WRONLY | O_CLOEXEC)) >= 0) {
		text_format(text, sizeof text, "%d", (long)b->birth.oom_score);
		if (write(fd, text, strlen(text)) < 0)
			errno = 0; /* the lower score is no reason not to start */
		close(fd);
	}
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, sizeof none);
}

static _Noreturn void become_server(struct server_birth *b)
{
	char line[512];

	give_back(b);
	b->sock = fcntl(b->sock, F_DUPFD, LOW_FDS);
	b->slots = fcntl(b->slots, F_DUPFD, LOW_FDS);
	b->ready = fcntl(b->ready, F_DUPFD, LOW_FDS);
	if (dup2(b->sock, 3) == 3 && dup2(b->slots, 4) == 4 && dup2(b->ready, 5) == 5) {
		syscall(SYS_close_range, 6, ~0u, 0);
		execve(b->argv[0], b->argv, environ);
	}
	text_format(line, sizeof line, "start server: exec %s: %s\n", b->argv[0], strerror(errno));
	if (write(5, line, strlen(line)) < 0)
		_exit(126);
	_exit(127);
}

void server_start(struct spawner *sp, int ready, char **argv)
{
	struct server_birth b = {.slots = sp->slots_fd, .ready = ready, .proc = sp->proc, .birth = sp->birth, .argv = argv};
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		die("make socket pair");
	b.sock = pair[1];
	pid = fork();
	if (pid < 0)
		die("fork server");
	if (pid == 0)
		become_server(&b); /* *sp is not in this process */
	close(pair[1]);
	close(ready);
	sp->sock = fd_above(pair[0], LOW_FDS);
	sp->server = pid;
}

void hello(struct spawner *sp, const struct msg *to)
{
	struct msg m = {.type = MSG_HELLO, .seq = to->seq, .pid = getpid()};

	m.arg[0] = WIRE_VERSION;
	for (unsigned op = 1; op < OP_COUNT; op++)
		if (op_rules[op].name)
			m.arg[1 + op / 64] |= 1ull << op % 64;
	m.err = to->arg[0] != WIRE_VERSION ? EPROTO : 0;
	answer(sp, &m, NULL);
}
