/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One process for the command line, without a server:
 *
 *   foundry-spawner -oneshot PLAN SLOTS STATUS FIFO CGROUP CLONE FILE...
 *
 * All but CLONE (a decimal mask) are descriptor numbers; FIFO and CGROUP may
 * be "-". The caller keeps the other end of the status pipe and maps the slot
 * file, whose only slot is 1, and follows the stage as a server would; hooks
 * are its business. This program ends with 0 as soon as the process exists and
 * its pid is in the slot; then the process belongs to the nearest subreaper
 * above. A process that waits at OP_READY waits, with a FIFO, for one byte in
 * it, so that its creator may end; its own end of the fifo closes at the exec.
 */
#include "fds.h"
#include "spawner.h"
#include "stage.h"
#include "text.h"
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

static int argument(const char *s)
{
	long v = text_number(s);
	int fd = v < 0 ? -1 : fcntl((int)v, F_DUPFD_CLOEXEC, LOW_FDS);

	if (fd < 0)
		errno = EBADF, die("descriptor argument");
	return fd;
}

static struct slot *prepare_slot(struct birth *b)
{
	char *pages = mmap(NULL, 2 * SLOT_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, b->slots_fd, 0);
	struct slot_header *h = (struct slot_header *)pages;
	struct slot *s = (struct slot *)(pages + SLOT_SIZE);

	if (pages == MAP_FAILED || madvise(pages, 2 * SLOT_SIZE, MADV_DONTFORK))
		die("map slots");
	*h = (struct slot_header){.magic = SLOT_MAGIC, .version = WIRE_VERSION, .slots = 2, .high = 2};
	memset(s, 0, sizeof *s);
	s->key = 1;
	s->tty = -1;
	s->started_ns = now_ns();
	s->state = SLOT_RESERVED;
	b->slot = 1;
	return s;
}

static void take_plan(struct birth *b, int fd, uint64_t clone_flags, int nfiles)
{
	off_t len = lseek(fd, 0, SEEK_END);
	struct plan_check in = {NULL, (size_t)len, (uint32_t)nfiles, clone_flags};
	char text[256];

	errno = plan_map(fd, (uint64_t)len, &in.buf);
	if (errno)
		die("plan: not a sealed memfd");
	errno = plan_check(&b->plan, &in, text, sizeof text);
	if (errno)
		die(text);
	close(fd);
}

/* Waits for the intermediate of an OP_FORK; the child is then ours. */
static pid_t await_child(const struct slot *s, pid_t intermediate)
{
	siginfo_t si;

	while (waitid(P_PID, (id_t)intermediate, &si, WEXITED | K_WALL))
		if (errno != EINTR)
			die("wait for the intermediate");
	if (si.si_code != CLD_EXITED || si.si_status || s->child <= 0)
		_exit(1); /* why is in the slot */
	return s->child;
}

static pid_t clone_stage(struct birth *b, uint64_t clone_flags, int cgroup)
{
	struct k_clone_args args = {.flags = clone_flags, .exit_signal = SIGCHLD};
	pid_t pid;

	if (cgroup >= 0) {
		args.flags |= K_CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)cgroup;
	}
	pid = (pid_t)syscall(SYS_clone3, &args, sizeof args);
	if (pid == 0)
		stage_run(b);
	if (pid < 0)
		die("clone");
	return pid;
}

int oneshot(int argc, char **argv)
{
	struct birth b = {.fifo = -1};
	uint64_t clone_flags;
	struct slot *s;
	int cgroup;
	pid_t pid;

	if (argc < 6 || argc > 6 + WIRE_MAX_FDS || text_number(argv[5]) < 0)
		errno = EINVAL, die("arguments of -oneshot");
	settle_signals();
	b.null = fill_low_numbers();
	b.slots_fd = argument(argv[1]);
	b.status = argument(argv[2]);
	b.fifo = strcmp(argv[3], "-") ? argument(argv[3]) : -1;
	cgroup = strcmp(argv[4], "-") ? argument(argv[4]) : -1;
	clone_flags = (uint64_t)text_number(argv[5]);
	for (int i = 6; i < argc; i++)
		b.files[i - 6] = argument(argv[i]);
	b.proc = fd_above(open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC), LOW_FDS);
	if (b.proc < 0 || getrlimit(RLIMIT_NOFILE, &b.birth.nofile))
		die("open /proc");
	take_plan(&b, argument(argv[0]), clone_flags, argc - 6);
	s = prepare_slot(&b);
	pid = clone_stage(&b, clone_flags, cgroup);
	s->pid = b.plan.forks ? await_child(s, pid) : pid;
	__atomic_store_n(&s->state, SLOT_RUNNING, __ATOMIC_RELEASE);
	return 0;
}
