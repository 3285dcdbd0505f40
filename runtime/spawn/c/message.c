/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The socket to the server. Each request has at most one answer, and no
 * request is read while an answer waits for room: so one answer is all that
 * ever has to be kept, and a server that does not read stops only itself.
 */
#include "spawner.h"
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

union control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(int) * WIRE_MAX_FDS)];
};

void close_all(int *fds, int n)
{
	for (int i = 0; i < n; i++)
		close(fds[i]);
}

/* Sends, or says that the socket is full. A message that can never be sent is
 * sent without its descriptors and with the error instead. */
bool message_send(struct spawner *sp, const struct msg *m, const int *fds)
{
	struct iovec iov = {(void *)m, sizeof *m};
	union control control;
	struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1};
	struct msg plain;

	if (sp->sock < 0)
		return true;
	if (m->nfds) {
		memset(&control, 0, sizeof control);
		h.msg_control = control.bytes;
		h.msg_controllen = CMSG_SPACE(sizeof(int) * m->nfds);
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(sizeof(int) * m->nfds);
		memcpy(CMSG_DATA(&control.align), fds, sizeof(int) * m->nfds);
	}
	if (sendmsg(sp->sock, &h, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		return true;
	if (errno == EAGAIN || errno == EINTR || errno == ENOBUFS || errno == ENOMEM)
		return false;
	if (errno == EPIPE || errno == ECONNRESET || !m->nfds) {
		server_gone(sp);
		return true;
	}
	plain = *m;
	plain.err = errno;
	plain.nfds = 0;
	return message_send(sp, &plain, NULL);
}

void messages_flush(struct spawner *sp)
{
	if (!sp->answer_waits)
		return;
	if (!message_send(sp, &sp->answer, sp->answer_fds))
		return;
	if (sp->answer_closes)
		close_all(sp->answer_fds, (int)sp->answer.nfds);
	sp->answer_waits = false;
}

/* The descriptors are lent until the next request is read, or with give are
 * closed once they are sent. */
static void answer_with(struct spawner *sp, const struct msg *m, const int *fds, bool give)
{
	sp->answer = *m;
	if (m->nfds)
		memcpy(sp->answer_fds, fds, sizeof(int) * m->nfds);
	sp->answer_closes = give;
	sp->answer_waits = true;
	messages_flush(sp);
}

void answer(struct spawner *sp, const struct msg *m, const int *fds)
{
	answer_with(sp, m, fds, false);
}

void answer_giving(struct spawner *sp, const struct msg *m, int fd)
{
	answer_with(sp, m, &fd, true);
}

void answer_done(struct spawner *sp, const struct msg *to, int err, const char *text)
{
	struct msg m = {.type = MSG_DONE, .seq = to->seq, .key = to->key, .slot = to->slot, .err = err};

	if (text)
		memcpy(m.text, text, strnlen(text, sizeof m.text - 1));
	answer(sp, &m, NULL);
}

static bool take_control(struct request *r, struct msghdr *h)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		memcpy(r->fds + r->nfds, CMSG_DATA(c), n * sizeof(int));
		r->nfds += (int)n;
	}
	return !(h->msg_flags & MSG_CTRUNC);
}

enum received { GOT_NOTHING, GOT_REQUEST, GOT_GARBAGE, GOT_TOO_MANY, GOT_END };

/* An empty message looks like the end of the connection; only the latter hangs up. */
static enum received end_or_empty(struct spawner *sp)
{
	struct pollfd p = {.fd = sp->sock, .events = POLLRDHUP};

	return poll(&p, 1, 0) > 0 && p.revents & (POLLRDHUP | POLLHUP | POLLERR) ? GOT_END : GOT_GARBAGE;
}

static enum received receive(struct spawner *sp, struct request *r)
{
	struct iovec iov = {&r->m, sizeof r->m};
	union control control;
	struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control};
	ssize_t n = recvmsg(sp->sock, &h, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	r->nfds = 0;
	if (n < 0)
		return errno == EAGAIN || errno == EINTR || errno == ENOMEM || errno == ENOBUFS ? GOT_NOTHING : GOT_END;
	if (!take_control(r, &h) || n != sizeof r->m || h.msg_flags & MSG_TRUNC || r->m.nfds != (uint32_t)r->nfds) {
		close_all(r->fds, r->nfds);
		if (n != sizeof r->m)
			memset(&r->m, 0, sizeof r->m);
		/* Cut descriptors are those that this process has no numbers for. */
		if (h.msg_flags & MSG_CTRUNC)
			return GOT_TOO_MANY;
		return n == 0 && !r->nfds ? end_or_empty(sp) : GOT_GARBAGE;
	}
	return GOT_REQUEST;
}

static void ack(struct spawner *sp, const struct msg *m)
{
	uint32_t n = m->slot;

	/* Anything else is a late or doubled acknowledgement: nothing to free. */
	if (n > 0 && n < sp->nslots && sp->own[n].key == m->key && slot_page(sp, n)->state == SLOT_EXITED &&
	    !(sp->own[n].flags & (OWN_TELL_SPAWNED | OWN_TELL_EXITED)))
		slot_release(sp, n);
}

static void stop(struct spawner *sp, const struct msg *to)
{
	struct msg m = {.type = MSG_DONE, .seq = to->seq, .key = to->key, .status = (int32_t)sp->live};

	sp->stop = true;
	answer(sp, &m, NULL);
}

/* Who handles a request owns its descriptors. */
static void dispatch(struct spawner *sp, struct request *r)
{
	switch (r->m.type) {
	case MSG_SPAWN:
		spawn(sp, r);
		return;
	case MSG_HOLD:
		hold(sp, r);
		return;
	case MSG_UPGRADE:
		upgrade(sp, r);
		return;
	}
	close_all(r->fds, r->nfds);
	switch (r->m.type) {
	case MSG_HELLO:
		sp->hello = r->m.arg[0] == WIRE_VERSION;
		hello(sp, &r->m);
		break;
	case MSG_ACK:
		ack(sp, &r->m);
		break;
	case MSG_DROP:
		drop(sp, r);
		break;
	case MSG_FETCH:
		fetch(sp, r);
		break;
	case MSG_LIST:
		list_next(sp, r);
		break;
	case MSG_STOP:
		stop(sp, &r->m);
		break;
	case MSG_ADOPT:
		adopt(sp, r);
		break;
	default:
		answer_done(sp, &r->m, EINVAL, "unknown message");
	}
}

void messages_read(struct spawner *sp)
{
	struct request r;

	/* Bounded, so that a busy server does not keep exits unrecorded. */
	for (int i = 0; i < 32 && sp->sock >= 0 && !sp->answer_waits; i++) {
		switch (receive(sp, &r)) {
		case GOT_NOTHING:
			return;
		case GOT_END:
			server_gone(sp);
			return;
		case GOT_GARBAGE:
			answer_done(sp, &r.m, EBADMSG, "message of a wrong size, or its descriptors are not those it counts");
			break;
		case GOT_TOO_MANY:
			answer_done(sp, &r.m, EMFILE, "more descriptors than the spawner can have");
			break;
		case GOT_REQUEST:
			if (!sp->hello && r.m.type != MSG_HELLO) {
				close_all(r.fds, r.nfds);
				answer_done(sp, &r.m, EPROTO, "hello comes first");
				break;
			}
			dispatch(sp, &r);
		}
	}
}
