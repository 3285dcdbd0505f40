/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exits: look at a zombie, write its exit into its slot, reap it, all at once.
 * Never is one left for later: while the zombie of an injected exec is not
 * reaped, the init of its pid namespace cannot be waited for, and waitid would
 * return the same zombie for ever.
 */
#include "spawner.h"
#include <string.h>
#include <sys/wait.h>

static int peek(int kind, pid_t pid, siginfo_t *si)
{
	si->si_pid = 0;
	return (int)syscall(SYS_waitid, kind, pid, si, WEXITED | WNOHANG | WNOWAIT | K_WALL, NULL);
}

static void reap(pid_t pid)
{
	siginfo_t si;

	syscall(SYS_waitid, K_P_PID, pid, &si, WEXITED | WNOHANG | K_WALL, NULL);
}

static void record(struct spawner *sp, uint32_t n, const siginfo_t *si)
{
	struct slot *s = slot_page(sp, n);

	s->pid = si->si_pid;
	s->sig = si->si_code == CLD_EXITED ? 0 : si->si_status;
	s->status = si->si_code == CLD_EXITED ? si->si_status & 0xff : 128 + si->si_status;
	s->exited_ns = now_ns();
	__atomic_store_n(&s->state, SLOT_EXITED, __ATOMIC_RELEASE);
}

/* The slot whose intermediate has made pid but is itself not gone yet. */
static uint32_t slot_of_child(struct spawner *sp, pid_t pid)
{
	if (!sp->forking)
		return 0;
	for (uint32_t n = slot_next_used(sp, 1); n; n = slot_next_used(sp, n + 1))
		if (sp->own[n].flags & OWN_FORKING && slot_page(sp, n)->child == pid)
			return n;
	return 0;
}

static void not_live(struct spawner *sp, uint32_t n)
{
	sp->own[n].flags &= ~(uint32_t)OWN_LIVE;
	sp->live--;
}

static void exited(struct spawner *sp, uint32_t n, const siginfo_t *si)
{
	record(sp, n, si);
	reap(si->si_pid);
	slot_set_pid(sp, n, 0);
	not_live(sp, n);
	tell(sp, n, OWN_TELL_EXITED);
}

/* The child ended before its intermediate: nobody has heard of it yet. */
static void child_exited_early(struct spawner *sp, uint32_t n, const siginfo_t *si)
{
	sp->own[n].pidfd = (int)syscall(SYS_pidfd_open, si->si_pid, 0);
	sp->own[n].flags |= OWN_CHILD_DONE;
	record(sp, n, si);
	reap(si->si_pid);
}

static void stage_failed(struct spawner *sp, uint32_t n)
{
	struct slot *s = slot_page(sp, n);

	if (!s->err) {
		s->err = EINTR;
		memcpy(s->what, "stage was killed", sizeof "stage was killed");
	}
	not_live(sp, n);
	sp->own[n].flags |= OWN_FAILED;
	tell(sp, n, OWN_TELL_SPAWNED);
}

static void kill_child(pid_t child)
{
	siginfo_t si;
	int pidfd;

	/* The number was written by the stage: it counts only if it is a child of ours. */
	if (child <= 0 || peek(K_P_PID, child, &si))
		return;
	pidfd = (int)syscall(SYS_pidfd_open, child, 0);
	if (pidfd < 0)
		return;
	syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
	close(pidfd);
}

/* The intermediate of an OP_FORK is gone: from now on the slot is its child's. */
static void handed_over(struct spawner *sp, uint32_t n, const siginfo_t *si)
{
	struct own *o = &sp->own[n];
	struct slot *s = slot_page(sp, n);
	pid_t child = s->child;
	bool good = si->si_code == CLD_EXITED && si->si_status == 0;
	siginfo_t seen;

	sp->forking--;
	o->flags &= ~(uint32_t)OWN_FORKING;
	if (good && !(o->flags & OWN_CHILD_DONE)) {
		good = child > 0 && peek(K_P_PID, child, &seen) == 0;
		o->pidfd = good ? (int)syscall(SYS_pidfd_open, child, 0) : -1;
		good = o->pidfd >= 0;
	}
	if (!good && !(o->flags & OWN_CHILD_DONE))
		kill_child(child);
	reap(si->si_pid);
	if (!good) {
		stage_failed(sp, n);
		return;
	}
	s->pid = child;
	if (o->flags & OWN_CHILD_DONE) {
		slot_set_pid(sp, n, 0);
		not_live(sp, n);
		o->flags = (o->flags & ~(uint32_t)OWN_CHILD_DONE) | OWN_TELL_EXITED;
		sp->untold++;
		tell(sp, n, OWN_TELL_SPAWNED);
		return;
	}
	slot_set_pid(sp, n, child);
	__atomic_store_n(&s->state, SLOT_RUNNING, __ATOMIC_RELEASE);
	tell(sp, n, OWN_TELL_SPAWNED);
}

static void ended(struct spawner *sp, const siginfo_t *si)
{
	uint32_t n = slot_by_pid(sp, si->si_pid);

	if (n && sp->own[n].flags & OWN_FORKING)
		handed_over(sp, n, si);
	else if (n)
		exited(sp, n, si);
	else if ((n = slot_of_child(sp, si->si_pid)))
		child_exited_early(sp, n, si);
	else {
		if (si->si_pid == sp->server)
			sp->server = 0, server_gone(sp);
		else
			slots_header(sp)->orphans++;
		reap(si->si_pid);
	}
}

void reap_all(struct spawner *sp)
{
	siginfo_t si;

	while (peek(K_P_ALL, 0, &si) == 0 && si.si_pid)
		ended(sp, &si);
}
