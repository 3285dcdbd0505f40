/* SPDX-License-Identifier: Apache-2.0 */
/* A SPAWN request: check the plan, reserve a slot, clone. */
#include "spawner.h"
#include "stage.h"
#include "text.h"
#include <string.h>
#include <sys/mman.h>

void spawn_refuse(struct spawner *sp, const struct msg *to, int err, const char *text)
{
	struct msg m = {.type = MSG_SPAWNED, .seq = to->seq, .key = to->key, .err = err};

	memcpy(m.text, text, strnlen(text, sizeof m.text - 1));
	answer(sp, &m, NULL);
}

/* Maps a plan that nobody can change any more. */
int plan_map(int fd, uint64_t len, const void **map)
{
	int seals = fcntl(fd, K_F_GET_SEALS);
	off_t size = lseek(fd, 0, SEEK_END);

	if (seals < 0 || (seals & K_SEALS_NEEDED) != K_SEALS_NEEDED)
		return EPERM;
	if (len == 0 || len > PLAN_MAX_BYTES || (uint64_t)size != len)
		return EINVAL;
	*map = mmap(NULL, len, PROT_READ, MAP_PRIVATE, fd, 0);
	return *map == MAP_FAILED ? errno : 0;
}

/* The parent's half after the stage is born. */
static void born(struct spawner *sp, uint32_t n, pid_t pid, int pidfd)
{
	struct slot *s = slot_page(sp, n);
	struct own *o = &sp->own[n];

	slot_set_pid(sp, n, pid);
	s->pid = pid;
	o->flags = OWN_LIVE;
	sp->live++;
	if (s->flags & SPAWN_FORKS) {
		/* Told when the child is known, by its own pidfd. */
		close(pidfd);
		o->flags |= OWN_FORKING;
		sp->forking++;
		return;
	}
	o->pidfd = pidfd;
	__atomic_store_n(&s->state, SLOT_RUNNING, __ATOMIC_RELEASE);
	tell(sp, n, OWN_TELL_SPAWNED);
}

static void clone_stage(struct spawner *sp, struct request *r, struct birth *b, uint64_t cgroup)
{
	struct k_clone_args args = {.flags = r->m.clone_flags | K_CLONE_PIDFD, .exit_signal = SIGCHLD};
	int pidfd = -1;
	pid_t pid;

	args.pidfd = (uintptr_t)&pidfd;
	if (r->m.flags & SPAWN_CGROUP) {
		args.flags |= K_CLONE_INTO_CGROUP;
		args.cgroup = cgroup;
	}
	pid = (pid_t)syscall(SYS_clone3, &args, sizeof args);
	if (pid == 0)
		stage_run(b); /* *sp is not in this process */
	if (pid < 0) {
		int err = errno;

		slot_release(sp, b->slot);
		spawn_refuse(sp, &r->m, err, "clone");
		return;
	}
	born(sp, b->slot, pid, pidfd);
}

/* Precondition: plan is checked. */
static void reserve_and_clone(struct spawner *sp, struct request *r, const struct plan *plan)
{
	bool cgroup = r->m.flags & SPAWN_CGROUP;
	struct birth b = {.plan = *plan, .status = r->fds[1], .slots_fd = sp->slots_fd, .proc = sp->proc, .null = sp->null, .fifo = -1, .birth = sp->birth};
	char text[64];
	uint32_t n;

	memcpy(b.files, r->fds + 2 + cgroup, sizeof(int) * plan->nfiles);
	if (slot_by_key(sp, r->m.key)) {
		spawn_refuse(sp, &r->m, EEXIST, "key is in use");
		return;
	}
	n = slot_reserve(sp, r->m.key);
	if (!n) {
		int err = errno;

		text_format(text, sizeof text, err == EAGAIN ? "all %d slots are in use" : "grow slot file", (long)sp->nslots - 1);
		spawn_refuse(sp, &r->m, err, text);
		return;
	}
	b.slot = n;
	sp->own[n].seq = r->m.seq;
	slot_page(sp, n)->flags = (r->m.flags & SPAWN_HELPER) | (plan->forks ? SPAWN_FORKS : 0) | (cgroup ? SPAWN_CGROUP : 0);
	clone_stage(sp, r, &b, (uint64_t)r->fds[2]);
}

void spawn(struct spawner *sp, struct request *r)
{
	int fixed = r->m.flags & SPAWN_CGROUP ? 3 : 2;
	struct msg why = {0};
	const void *map = NULL;
	struct plan plan;
	int err;

	if (r->nfds < fixed || r->m.key == 0 || r->m.flags & ~(SPAWN_CGROUP | SPAWN_HELPER | SPAWN_FORKS)) {
		spawn_refuse(sp, &r->m, EINVAL, "spawn: key, flags or descriptors missing");
	} else if ((err = plan_map(r->fds[0], r->m.arg[0], &map))) {
		spawn_refuse(sp, &r->m, err, "plan: not a sealed memfd of the size said");
	} else {
		struct plan_check in = {map, r->m.arg[0], (uint32_t)(r->nfds - fixed), r->m.clone_flags};

		err = plan_check(&plan, &in, why.text, sizeof why.text);
		if (err)
			spawn_refuse(sp, &r->m, err, why.text);
		else
			reserve_and_clone(sp, r, &plan);
		munmap((void *)map, r->m.arg[0]);
	}
	close_all(r->fds, r->nfds);
}
