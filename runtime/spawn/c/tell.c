/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the spawner says unasked: that a process lives, that it has ended. It
 * is kept as flags of the slot until the socket takes it, so it needs no queue
 * and nothing of it can be lost.
 */
#include "spawner.h"
#include <string.h>

#define TELL_FLAGS (OWN_TELL_SPAWNED | OWN_TELL_EXITED)

static void describe_spawned(struct spawner *sp, uint32_t n, struct msg *m)
{
	struct slot *s = slot_page(sp, n);

	*m = (struct msg){.type = MSG_SPAWNED, .seq = sp->own[n].seq, .key = s->key, .slot = n, .pid = s->pid};
	m->flags = s->flags;
	if (sp->own[n].flags & OWN_FAILED) {
		m->flags |= SPAWN_STAGE;
		m->err = s->err ? s->err : EIO;
		m->arg[0] = s->step;
		memcpy(m->text, s->what, sizeof m->text - 1);
	}
}

static void describe_exited(struct spawner *sp, uint32_t n, struct msg *m)
{
	struct slot *s = slot_page(sp, n);

	*m = (struct msg){.type = MSG_EXITED, .key = s->key, .slot = n, .pid = s->pid, .status = s->status, .flags = s->flags};
	m->arg[0] = s->exited_ns;
	m->arg[1] = (uint64_t)(uint32_t)s->sig;
}

static bool tell_spawned(struct spawner *sp, uint32_t n)
{
	struct own *o = &sp->own[n];
	struct msg m;

	describe_spawned(sp, n, &m);
	m.nfds = o->pidfd >= 0 && !m.err;
	if (!message_send(sp, &m, &o->pidfd))
		return false;
	o->flags &= ~(uint32_t)OWN_TELL_SPAWNED;
	if (o->pidfd >= 0)
		close(o->pidfd);
	o->pidfd = -1;
	return true;
}

static bool tell_one(struct spawner *sp, uint32_t n)
{
	struct own *o = &sp->own[n];
	struct msg m;

	if (o->flags & OWN_TELL_SPAWNED && !tell_spawned(sp, n))
		return false;
	if (o->flags & OWN_FAILED) {
		slot_release(sp, n);
		return true;
	}
	if (o->flags & OWN_TELL_EXITED) {
		describe_exited(sp, n, &m);
		if (!message_send(sp, &m, NULL))
			return false;
		o->flags &= ~(uint32_t)OWN_TELL_EXITED;
	}
	return true;
}

void tell(struct spawner *sp, uint32_t n, uint32_t flag)
{
	bool counted = sp->own[n].flags & TELL_FLAGS;

	sp->own[n].flags |= flag;
	if (counted || !tell_one(sp, n))
		sp->untold += !counted;
}

/* Called when the socket may have room. */
void tell_all(struct spawner *sp)
{
	for (uint32_t n = slot_next_used(sp, 1); n && sp->untold; n = slot_next_used(sp, n + 1)) {
		if (!(sp->own[n].flags & TELL_FLAGS))
			continue;
		if (!tell_one(sp, n))
			return;
		sp->untold--;
	}
}

void list_next(struct spawner *sp, struct request *r)
{
	uint32_t n = r->m.arg[0] < sp->nslots ? slot_next_used(sp, (uint32_t)r->m.arg[0]) : 0;
	struct msg m;
	int pidfd;

	if (!n) {
		answer_done(sp, &r->m, 0, NULL);
		return;
	}
	if (!(sp->own[n].flags & OWN_LIVE)) {
		describe_exited(sp, n, &m);
		m.seq = r->m.seq;
		answer(sp, &m, NULL);
		return;
	}
	describe_spawned(sp, n, &m);
	m.seq = r->m.seq;
	/* The number cannot have been given to another: only we reap it. */
	pidfd = (int)syscall(SYS_pidfd_open, sp->own[n].pid, 0);
	m.nfds = pidfd >= 0;
	m.err = pidfd >= 0 ? 0 : errno;
	answer_giving(sp, &m, pidfd);
}
