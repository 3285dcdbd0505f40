/* SPDX-License-Identifier: Apache-2.0 */
/* The slot file, and finding a slot by what is known of it. */
#include "spawner.h"
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

struct slot_header *slots_header(struct spawner *sp)
{
	return (struct slot_header *)sp->pages;
}

struct slot *slot_page(struct spawner *sp, uint32_t n)
{
	return (struct slot *)(sp->pages + (size_t)n * SLOT_SIZE);
}

void slots_map(struct spawner *sp)
{
	struct stat st;

	if (fstat(sp->slots_fd, &st))
		die("stat slots");
	if (st.st_size < 2 * SLOT_SIZE || st.st_size > (off_t)MAX_SLOTS * SLOT_SIZE || st.st_size % SLOT_SIZE)
		errno = EINVAL, die("size of slots");
	sp->nslots = (uint32_t)(st.st_size / SLOT_SIZE);
	sp->pages = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, sp->slots_fd, 0);
	if (sp->pages == MAP_FAILED)
		die("map slots");
	/* A stage maps its own page and never sees another's. */
	if (madvise(sp->pages, (size_t)st.st_size, MADV_DONTFORK))
		die("madvise slots");
	sp->used[0] |= 1;
	for (uint32_t n = sp->nslots; n < MAX_SLOTS; n++)
		sp->used[n / 64] |= 1ull << n % 64;
}

/* The file is sparse, and a store to a page for which its file system has no
 * room is SIGBUS, that is the end of every container. So the room is taken
 * before the first store; what is below high has it. */
static int make_room(struct spawner *sp, uint32_t n)
{
	while (fallocate(sp->slots_fd, 0, (off_t)n * SLOT_SIZE, SLOT_SIZE))
		if (errno == EOPNOTSUPP)
			return 0;
		else if (errno != EINTR)
			return -1;
	return 0;
}

void slots_format(struct spawner *sp)
{
	struct slot_header *h = slots_header(sp);

	if (make_room(sp, 0))
		die("make room for slots");
	memset(h, 0, sizeof *h);
	h->version = WIRE_VERSION;
	h->slots = sp->nslots;
	h->high = 1;
	h->spawner = getpid();
	__atomic_store_n(&h->magic, SLOT_MAGIC, __ATOMIC_RELEASE);
}

static uint32_t chain_of(uint64_t v)
{
	return (uint32_t)((v * 0x9e3779b97f4a7c15ull) >> 32) & (CHAINS - 1);
}

uint32_t slot_by_pid(struct spawner *sp, pid_t pid)
{
	uint32_t n = sp->by_pid[chain_of((uint64_t)pid)];

	while (n && sp->own[n].pid != pid)
		n = sp->own[n].next_pid;
	return n;
}

uint32_t slot_by_key(struct spawner *sp, uint64_t key)
{
	uint32_t n = sp->by_key[chain_of(key)];

	while (n && sp->own[n].key != key)
		n = sp->own[n].next_key;
	return n;
}

/* Takes the slot's pid out of the table; after reaping nothing may find it,
 * for the number may come back as somebody else. */
static void forget_pid(struct spawner *sp, uint32_t n)
{
	uint32_t *at = &sp->by_pid[chain_of((uint64_t)sp->own[n].pid)];

	if (sp->own[n].pid == 0)
		return;
	while (*at && *at != n)
		at = &sp->own[*at].next_pid;
	if (*at == n)
		*at = sp->own[n].next_pid;
	sp->own[n].pid = 0;
}

void slot_set_pid(struct spawner *sp, uint32_t n, pid_t pid)
{
	uint32_t *head;

	forget_pid(sp, n);
	if (pid == 0)
		return;
	head = &sp->by_pid[chain_of((uint64_t)pid)];
	sp->own[n].pid = pid;
	sp->own[n].next_pid = *head;
	*head = n;
}

/* Makes the private half of slot n: used, with its key, without a process. */
static void claim(struct spawner *sp, uint32_t n, uint64_t key)
{
	uint32_t *head = &sp->by_key[chain_of(key)];

	sp->used[n / 64] |= 1ull << n % 64;
	sp->own[n] = (struct own){.key = key, .pidfd = -1, .next_key = *head};
	*head = n;
}

/* The lowest free slot, so that the part of the file in use stays small; or 0
 * and errno. */
uint32_t slot_reserve(struct spawner *sp, uint64_t key)
{
	struct slot_header *h = slots_header(sp);
	struct slot *s;
	uint32_t n;

	for (n = 0; n < MAX_SLOTS; n += 64)
		if (~sp->used[n / 64])
			break;
	errno = EAGAIN;
	if (n >= MAX_SLOTS)
		return 0;
	n += (uint32_t)__builtin_ctzll(~sp->used[n / 64]);
	if (n >= h->high && make_room(sp, n))
		return 0;
	claim(sp, n, key);
	s = slot_page(sp, n);
	memset(s, 0, sizeof *s);
	s->key = key;
	s->tty = -1;
	s->started_ns = now_ns();
	__atomic_store_n(&s->state, SLOT_RESERVED, __ATOMIC_RELEASE);
	if (h->high <= n)
		h->high = n + 1;
	return n;
}

/* After an upgrade: slot n is in use as its page says. */
void slot_adopt(struct spawner *sp, uint32_t n)
{
	claim(sp, n, slot_page(sp, n)->key);
}

void slot_release(struct spawner *sp, uint32_t n)
{
	uint32_t *at = &sp->by_key[chain_of(sp->own[n].key)];

	forget_pid(sp, n);
	while (*at && *at != n)
		at = &sp->own[*at].next_key;
	if (*at == n)
		*at = sp->own[n].next_key;
	if (sp->own[n].pidfd >= 0)
		close(sp->own[n].pidfd);
	__atomic_store_n(&slot_page(sp, n)->state, SLOT_FREE, __ATOMIC_RELEASE);
	slot_page(sp, n)->key = 0;
	sp->used[n / 64] &= ~(1ull << n % 64);
	sp->own[n] = (struct own){.pidfd = -1};
}

/* The first used slot at or above from, or 0. */
uint32_t slot_next_used(struct spawner *sp, uint32_t from)
{
	for (uint32_t n = from ? from : 1; n < slots_header(sp)->high && n < sp->nslots; n++)
		if (sp->used[n / 64] >> n % 64 & 1)
			return n;
	return 0;
}
