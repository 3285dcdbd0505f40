/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What is known of a frame. Only values, no pointers into it: helpers that change a frame make
 * those invalid, and a program that keeps none cannot use a stale one.
 */
#ifndef FOUNDRY_PACKET_H
#define FOUNDRY_PACKET_H

#include "counters.h"

enum packet_flag {
	PKT_FRAGMENT = 1, /* of a larger packet */
	PKT_LATER = 2,	  /* and not its first: no ports in it */
	PKT_DF = 4,
	PKT_NO_ADDRESS = 8, /* from 0.0.0.0 or :: */
};

struct packet {
	hook_t *ctx;
	__u32 len;     /* whole frame, as it came */
	__u32 ifindex; /* where it came in */
	__u32 vni;
	__u32 endpoint; /* who sent it; 0 on the uplink */
	__u32 to;	/* the endpoint that gets it, or 0 */
	__u32 hash;	/* of the flow, once it is encapsulated */
	__s32 ret;	/* what a redirecting helper returned */
	__u16 base;	/* where the frame begins: after the outer headers on the uplink */
	__u16 l3;	/* offsets from the start of data */
	__u16 l4;
	__u16 l3_len; /* as its header says; 0 for more than 16 bits */
	__u16 l4_len; /* of the TCP or UDP header */
	__be16 type;
	__u8 proto;
	__u8 tos;
	__u8 hops; /* TTL or hop limit */
	__u8 flags;
	__u8 icmp; /* type */
	__u8 outer_ecn;
	struct mac dst;
	struct mac src;
	struct addr saddr;
	struct addr daddr;
	struct ports ports;
};

/* A place in the linear part of a frame, and its end. */
struct cursor {
	void *pos;
	void *end;
};

static __always_inline struct cursor cursor_at(hook_t *ctx, __u32 offset)
{
	struct cursor c = {.pos = hook_data(ctx) + offset, .end = hook_end(ctx)};

	return c;
}

/* take returns the next n bytes, or NULL when there are not so many. */
static __always_inline void *take(struct cursor *c, __u32 n)
{
	void *at = c->pos;

	if (at + n > c->end)
		return NULL;
	c->pos = at + n;
	return at;
}

static __always_inline int mac_equal(const struct mac *a, const struct mac *b)
{
	const __u16 *x = (const void *)a, *y = (const void *)b;

	return x[0] == y[0] && x[1] == y[1] && x[2] == y[2];
}

static __always_inline struct mac mac_of(const __u8 b[6])
{
	struct mac m;

	__builtin_memcpy(&m, b, sizeof(m));
	return m;
}

static __always_inline int is_multicast(const struct mac *m)
{
	return m->b[0] & 1;
}

static __always_inline int addr_equal(const struct addr *a, const struct addr *b)
{
	return a->w[0] == b->w[0] && a->w[1] == b->w[1] && a->w[2] == b->w[2] && a->w[3] == b->w[3];
}

static __always_inline int addr_zero(const struct addr *a)
{
	return !(a->w[0] | a->w[1] | a->w[2] | a->w[3]);
}

#define JUMBO_OPTION 8 /* bytes of a hop-by-hop header with nothing else (RFC 2675) */

/* l3_size is the size of the packet on the wire: of one segment, when the frame is many. Of IPv6 and
 * more than 64 KiB, the kernel has put a jumbo option in, and takes it out of the segments.
 */
static __always_inline __u32 l3_size(const struct packet *p)
{
	__u32 gso = hook_gso(p->ctx);
	__u32 jumbo = p->type == ETHERTYPE_IPV6 && !p->l3_len ? JUMBO_OPTION : 0;

	if (gso && p->l4_len)
		return p->l4 - p->l3 - jumbo + p->l4_len + gso;
	return p->len - p->base - sizeof(struct eth);
}

#endif
