/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The spawner replaces its program and stays the parent of all. What the slot
 * file does not hold goes through a memfd: a versioned header, then the
 * private half of every slot in use, then the held descriptors. Records carry
 * their size, so a newer program reads an older state.
 */
#include "fds.h"
#include "spawner.h"
#include "text.h"
#include <string.h>
#include <sys/statvfs.h>

#define STATE_MAGIC 0x45544154534e4453ull
#define STATE_VERSION 1

struct state_header {
	uint64_t magic;
	uint32_t version, own_size, held_size, nown, nheld;
	int32_t sock, slots_fd, server;
	uint32_t hello, stop, seq, pad; /* seq: of the request that the next program answers */
	struct birthright birth;
};
struct state_own {
	uint32_t slot;
	struct own own;
};

extern char **environ;

static bool put(int fd, const void *p, size_t n)
{
	return write(fd, p, n) == (ssize_t)n;
}

static bool save(struct spawner *sp, int fd, uint32_t seq)
{
	struct state_header h = {
		.magic = STATE_MAGIC, .version = STATE_VERSION, .own_size = sizeof(struct state_own),
		.held_size = sizeof(struct held), .nheld = sp->nheld, .sock = sp->sock, .slots_fd = sp->slots_fd,
		.server = sp->server, .hello = sp->hello, .stop = sp->stop, .seq = seq, .birth = sp->birth,
	};

	for (uint32_t n = slot_next_used(sp, 1); n; n = slot_next_used(sp, n + 1))
		h.nown++;
	if (!put(fd, &h, sizeof h))
		return false;
	for (uint32_t n = slot_next_used(sp, 1); n; n = slot_next_used(sp, n + 1)) {
		struct state_own o = {n, sp->own[n]};

		if (!put(fd, &o, sizeof o))
			return false;
	}
	return put(fd, sp->held, sizeof(struct held) * sp->nheld);
}

/* Which descriptors the next program gets. */
static void pass_on(struct spawner *sp, int state, int pass)
{
	fd_set_cloexec(state, !pass);
	fd_set_cloexec(sp->sock, !pass);
	fd_set_cloexec(sp->slots_fd, !pass);
	for (uint32_t i = 0; i < sp->nheld; i++)
		fd_set_cloexec(sp->held[i].fd, !pass);
	for (uint32_t n = slot_next_used(sp, 1); n; n = slot_next_used(sp, n + 1))
		if (sp->own[n].pidfd >= 0)
			fd_set_cloexec(sp->own[n].pidfd, !pass);
}

/* A sealed memfd, or where these cannot be executed, a file of a read-only
 * mount: containers see it as /proc/PID/exe. */
static bool nobody_can_write(int fd)
{
	int seals = fcntl(fd, K_F_GET_SEALS);
	struct statvfs fs;

	if (seals >= 0 && (seals & K_SEALS_NEEDED) == K_SEALS_NEEDED)
		return true;
	return fstatvfs(fd, &fs) == 0 && fs.f_flag & ST_RDONLY;
}

void upgrade(struct spawner *sp, struct request *r)
{
	char number[16];
	int state, err;

	if (r->nfds != 1 || !nobody_can_write(r->fds[0])) {
		close_all(r->fds, r->nfds);
		answer_done(sp, &r->m, EPERM, "upgrade: neither a sealed memfd nor on a read-only mount");
		return;
	}
	state = (int)syscall(SYS_memfd_create, "foundry-state", K_MFD_CLOEXEC);
	if (state >= 0 && save(sp, state, r->m.seq)) {
		text_format(number, sizeof number, "%d", (long)state);
		pass_on(sp, state, 1);
		syscall(SYS_execveat, r->fds[0], "", (char *[]){"foundry-spawner", "-resume", number, NULL}, environ, AT_EMPTY_PATH);
	}
	err = errno;
	if (state >= 0) {
		pass_on(sp, state, 0);
		close(state);
	}
	close_all(r->fds, r->nfds);
	answer_done(sp, &r->m, err, "upgrade: exec");
}

static void get(int fd, void *p, size_t n)
{
	if (read(fd, p, n) != (ssize_t)n)
		die("read state");
}

static void resume_slots(struct spawner *sp, const struct state_header *h, int state)
{
	for (uint32_t i = 0; i < h->nown; i++) {
		struct state_own o;

		get(state, &o, sizeof o);
		if (o.slot == 0 || o.slot >= sp->nslots)
			errno = EBADMSG, die("slot in state");
		slot_adopt(sp, o.slot);
		slot_set_pid(sp, o.slot, o.own.pid);
		sp->own[o.slot].pidfd = o.own.pidfd;
		sp->own[o.slot].seq = o.own.seq;
		sp->own[o.slot].flags = o.own.flags;
		sp->live += !!(o.own.flags & OWN_LIVE);
		sp->forking += !!(o.own.flags & OWN_FORKING);
		sp->untold += !!(o.own.flags & (OWN_TELL_SPAWNED | OWN_TELL_EXITED));
		if (o.own.pidfd >= 0)
			fd_set_cloexec(o.own.pidfd, 1);
	}
}

uint32_t upgrade_resume(struct spawner *sp, int state)
{
	struct state_header h;

	if (lseek(state, 0, SEEK_SET))
		die("read state");
	get(state, &h, sizeof h);
	if (h.magic != STATE_MAGIC || h.version != STATE_VERSION || h.own_size != sizeof(struct state_own) ||
	    h.held_size != sizeof(struct held) || h.nheld > MAX_HELD)
		errno = EBADMSG, die("state of another version");
	sp->sock = h.sock;
	sp->slots_fd = h.slots_fd;
	sp->server = h.server;
	sp->hello = h.hello;
	sp->stop = h.stop;
	sp->birth = h.birth;
	slots_map(sp);
	resume_slots(sp, &h, state);
	get(state, sp->held, sizeof(struct held) * h.nheld);
	sp->nheld = h.nheld;
	for (uint32_t i = 0; i < sp->nheld; i++)
		fd_set_cloexec(sp->held[i].fd, 1);
	fd_set_cloexec(sp->sock, 1);
	fd_set_cloexec(sp->slots_fd, 1);
	close(state);
	return h.seq;
}

/* Asked before an upgrade: the program in place cannot be brought back. */
int upgrade_versions(void)
{
	char line[64];

	text_format(line, sizeof line, "wire %d state %d\n", (long)WIRE_VERSION, (long)STATE_VERSION);
	return write(1, line, strlen(line)) < 0;
}
