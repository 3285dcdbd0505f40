/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors that must outlive the server, in the order they came. */
#include "spawner.h"

void hold(struct spawner *sp, struct request *r)
{
	if (sp->nheld + (uint32_t)r->nfds > MAX_HELD) {
		close_all(r->fds, r->nfds);
		answer_done(sp, &r->m, EMFILE, "hold: too many descriptors");
		return;
	}
	for (int i = 0; i < r->nfds; i++)
		sp->held[sp->nheld++] = (struct held){r->m.key, r->m.arg[0], r->fds[i], 0};
	answer_done(sp, &r->m, 0, NULL);
}

/* Answered after the close: the server's CloseIO relies on it. */
void drop(struct spawner *sp, struct request *r)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < sp->nheld; i++) {
		struct held *h = &sp->held[i];

		if (h->key == r->m.key && (r->m.arg[0] == ~0ull || h->tag == r->m.arg[0]))
			close(h->fd);
		else
			sp->held[kept++] = *h;
	}
	sp->nheld = kept;
	answer_done(sp, &r->m, 0, NULL);
}

void fetch(struct spawner *sp, struct request *r)
{
	struct msg m = {.type = MSG_HELD, .seq = r->m.seq};
	int fds[WIRE_MAX_FDS];
	uint64_t at = r->m.arg[0];

	if (at >= sp->nheld) {
		answer_done(sp, &r->m, 0, NULL);
		return;
	}
	m.key = sp->held[at].key;
	m.arg[0] = sp->held[at].tag;
	while (at < sp->nheld && m.nfds < WIRE_MAX_FDS && sp->held[at].key == m.key && sp->held[at].tag == m.arg[0])
		fds[m.nfds++] = sp->held[at++].fd;
	m.arg[1] = at;
	answer(sp, &m, fds);
}
