/* SPDX-License-Identifier: Apache-2.0 */
#include "spawner.h"
#include <sys/epoll.h>
#include <sys/signalfd.h>

/* Waits for room in the socket only while there is something to say: then no
 * further request is read (message.c). */
static void watch_socket(struct spawner *sp)
{
	bool write = sp->answer_waits || sp->untold;
	struct epoll_event e = {.events = sp->answer_waits ? 0 : EPOLLIN, .data.fd = sp->sock};

	if (sp->sock < 0 || (write == sp->waiting_to_write && !write))
		return;
	sp->waiting_to_write = write;
	e.events |= write ? EPOLLOUT : 0;
	if (epoll_ctl(sp->ep, EPOLL_CTL_MOD, sp->sock, &e))
		die("watch socket");
}

void loop_watch(struct spawner *sp)
{
	struct epoll_event e = {.events = EPOLLIN};
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sp->sig = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	sp->ep = epoll_create1(EPOLL_CLOEXEC);
	if (sp->sig < 0 || sp->ep < 0)
		die("make signalfd and epoll");
	e.data.fd = sp->sig;
	if (epoll_ctl(sp->ep, EPOLL_CTL_ADD, sp->sig, &e))
		die("watch signals");
	e.data.fd = sp->sock;
	if (epoll_ctl(sp->ep, EPOLL_CTL_ADD, sp->sock, &e))
		die("watch socket");
}

/* Whoever needs to know an exit from now on reads the slot file. */
void server_gone(struct spawner *sp)
{
	if (sp->sock < 0)
		return;
	close(sp->sock);
	sp->sock = -1;
	if (sp->answer_waits && sp->answer_closes)
		close_all(sp->answer_fds, (int)sp->answer.nfds);
	sp->answer_waits = false;
}

static void on_signal(struct spawner *sp)
{
	struct signalfd_siginfo drop[8];

	while (read(sp->sig, drop, sizeof drop) > 0)
		;
	reap_all(sp);
}

_Noreturn void loop_run(struct spawner *sp)
{
	struct epoll_event events[2];

	reap_all(sp);
	for (;;) {
		int n;

		if (sp->live == 0 && (sp->sock < 0 || sp->stop))
			_exit(0);
		messages_flush(sp);
		tell_all(sp);
		watch_socket(sp);
		n = epoll_wait(sp->ep, events, 2, -1);
		for (int i = 0; i < n; i++) {
			if (events[i].data.fd == sp->sig)
				on_signal(sp);
			else if (sp->sock >= 0)
				messages_read(sp);
		}
	}
}
