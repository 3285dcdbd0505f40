/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pid 1 that stays: it has the program as its child, hands every signal on
 * to it, reaps whatever is left to pid 1, and ends as the program ended. With
 * STEP_STAY it ends when nobody is left, and until then hands signals on to
 * everybody: the program may have put itself into the background.
 */
#include "stage.h"
#include "text.h"
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

static uint64_t bit(int sig)
{
	return 1ull << (sig - 1);
}

static void mask(uint64_t set)
{
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &set, NULL, sizeof set);
}

struct init {
	pid_t program;
	bool all; /* wait for everybody */
	int status; /* of the program; -1 while it runs */
};

/* Reaps what there is; leaves as soon as the program itself is among it, or
 * when it was the last of all. */
static void reap_children(struct init *in)
{
	siginfo_t si;

	for (;;) {
		si.si_pid = 0;
		if (syscall(SYS_waitid, K_P_ALL, 0, &si, WEXITED | WNOHANG | K_WALL, NULL)) {
			if (in->status >= 0) /* nobody is left */
				_exit(in->status);
			return;
		}
		if (!si.si_pid)
			return;
		if (si.si_pid == in->program)
			in->status = si.si_code == CLD_EXITED ? si.si_status : 128 + si.si_status;
		if (in->status >= 0 && !in->all)
			_exit(in->status);
	}
}

static _Noreturn void stay(struct init *in, uint64_t waited)
{
	for (;;) {
		siginfo_t si;
		int sig = (int)syscall(SYS_rt_sigtimedwait, &waited, &si, NULL, sizeof waited);

		if (sig == SIGCHLD)
			reap_children(in);
		else if (sig > 0)
			kill(in->status < 0 ? in->program : -1, sig);
	}
}

/* Default handling again, or a signal of the program's own making would run
 * the stage's handlers until its execve. */
static void lead_own_group(void)
{
	uint64_t ttou = bit(SIGTTOU);

	setpgid(0, 0);
	mask(ttou); /* to take the terminal from outside its foreground group */
	tcsetpgrp(0, getpid());
	mask(0);
}

extern char **environ;

/* The arguments are the spawner's, and everybody in the container may read
 * them. The environment follows them in memory. */
static void rename_self(void)
{
	static const char name[] = "foundry-init";
	char *first = program_invocation_name;
	size_t room = *environ > first ? (size_t)(*environ - first) : strlen(first) + 1;

	prctl(PR_SET_NAME, name);
	memset(first, 0, room);
	memcpy(first, name, room < sizeof name ? room - 1 : sizeof name - 1);
}

/* Returns in the program's process only. */
int init_fork(struct stage *st)
{
	struct k_clone_args args = {.exit_signal = SIGCHLD};
	uint64_t all = ~0ull & ~(bit(SIGSEGV) | bit(SIGBUS) | bit(SIGILL) | bit(SIGFPE));
	bool terminal = tcgetpgrp(0) >= 0;
	struct init in = {.status = -1};
	pid_t pid;

	mask(all);
	pid = (pid_t)syscall(SYS_clone3, &args, sizeof args);
	if (pid == 0) {
		if (terminal)
			lead_own_group();
		mask(0);
		return 0;
	}
	if (pid < 0) {
		say(st, "fork below init");
		return -1;
	}
	rename_self();
	munmap(st->slot, SLOT_SIZE);
	syscall(SYS_close_range, 0, ~0u, 0);
	in.program = pid;
	in.all = st->step->flags & STEP_STAY && getpid() == 1; /* elsewhere everybody would be the host */
	stay(&in, all);
}
