/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process that somebody else has made a child of this one: criu restores a
 * container's init as its own sibling. From here on it has a slot like any other.
 */
#include "spawner.h"
#include <sys/wait.h>

/* Looks without reaping: a child that has ended stays for the loop to find. */
static bool is_child(pid_t pid)
{
	siginfo_t si;

	return pid > 1 && syscall(SYS_waitid, K_P_PID, pid, &si, WEXITED | WNOHANG | WNOWAIT | K_WALL, NULL) == 0;
}

void adopt(struct spawner *sp, struct request *r)
{
	pid_t pid = r->m.pid;
	struct own *o;
	uint32_t n;
	int pidfd;

	if (r->m.key == 0 || slot_by_key(sp, r->m.key)) {
		spawn_refuse(sp, &r->m, EEXIST, "key is in use");
		return;
	}
	if (!is_child(pid) || slot_by_pid(sp, pid) || pid == sp->server) {
		spawn_refuse(sp, &r->m, ECHILD, "adopt: not a child that nobody knows");
		return;
	}
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	n = pidfd < 0 ? 0 : slot_reserve(sp, r->m.key);
	if (!n) {
		int err = errno;

		if (pidfd >= 0)
			close(pidfd);
		spawn_refuse(sp, &r->m, err, "adopt: no slot or no descriptor left");
		return;
	}
	o = &sp->own[n];
	o->seq = r->m.seq;
	o->flags = OWN_LIVE;
	o->pidfd = pidfd;
	sp->live++;
	slot_set_pid(sp, n, pid);
	slot_page(sp, n)->pid = pid;
	__atomic_store_n(&slot_page(sp, n)->state, SLOT_RUNNING, __ATOMIC_RELEASE);
	tell(sp, n, OWN_TELL_SPAWNED);
}
