/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sync points. The stage says where it is by one byte in the status pipe and
 * waits on the futex in its slot page. Between them a created container is
 * pid 1 of its namespace, where signals without a handler are lost: hence the
 * handlers, which execve resets.
 */
#include "stage.h"
#include "text.h"
#include <string.h>

static void leave(int sig)
{
	_exit(128 + sig);
}

static bool ends_a_process(int sig)
{
	switch (sig) {
	case SIGKILL:
	case SIGSTOP:
	case SIGCHLD:
	case SIGCONT:
	case SIGURG:
	case SIGWINCH:
	case SIGTSTP:
	case SIGTTIN:
	case SIGTTOU:
		return false;
	}
	return true;
}

/* The spawner has everything blocked and nothing handled or ignored. */
void signals_end_the_stage(void)
{
	/* x86-64 insists on a restorer; leave never returns to it. */
	struct k_sigaction end = {.handler = leave, .flags = K_SA_RESTORER, .restorer = (void (*)(void))leave};
	uint64_t none = 0;

	for (int sig = 1; sig <= 64; sig++)
		if (ends_a_process(sig))
			syscall(SYS_rt_sigaction, sig, &end, NULL, sizeof end.mask);
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, sizeof none);
}

int announce(struct stage *st, char point)
{
	__atomic_store_n(&st->slot->phase, st->slot->phase + 1, __ATOMIC_RELEASE);
	while (write(st->status, &point, 1) != 1)
		if (errno != EINTR) {
			say(st, "tell the server");
			return -1;
		}
	return 0;
}

static void wait_for_go(struct stage *st)
{
	uint32_t go;

	while ((go = __atomic_load_n(&st->slot->go, __ATOMIC_ACQUIRE)) < st->slot->phase)
		syscall(SYS_futex, &st->slot->go, K_FUTEX_WAIT, go, NULL, NULL, 0);
}

/* One-shot: start writes a byte into the fifo, of which this end stays open
 * until the exec, so that start sees it happen. */
static int wait_for_fifo(struct stage *st)
{
	char byte;
	ssize_t n;

	do
		n = read(st->fifo, &byte, 1);
	while (n < 0 && errno == EINTR);
	if (n == 1)
		return 0;
	say(st, "wait for start");
	return -1;
}

int do_hooks(struct stage *st)
{
	if (announce(st, 'H'))
		return -1;
	wait_for_go(st);
	return 0;
}

int do_ready(struct stage *st)
{
	st->slot->tty = st->master;
	if (announce(st, 'R'))
		return -1;
	if (st->fifo >= 0) {
		if (wait_for_fifo(st))
			return -1;
	} else {
		wait_for_go(st);
	}
	st->slot->tty = -1;
	if (st->master >= 0)
		close(st->master);
	st->master = -1;
	return 0;
}
