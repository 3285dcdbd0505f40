/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Neighbour discovery (RFC 4861, duplicate address detection RFC 4862), answered from the map. */
#ifndef FOUNDRY_ND_H
#define FOUNDRY_ND_H

#include "bum.h"
#include "csum.h"
#include "spoof.h"

#define ND_OPTIONS 4 /* a solicitation has at most an address and a nonce */
#define ND_MAX	   128

static __always_inline __u32 nd_option(struct cursor *c, const struct endpoint *ep)
{
	struct nd_lladdr *option = take(c, sizeof(*option));
	struct mac mac;
	__u32 more;

	if (!option || !option->len)
		return drop(ND_MALFORMED);
	/* The mask is for the verifier of 6.1, which forgets that a length is not zero. */
	more = (option->len - 1) & 0xff;
	if (option->type == ND_SLLA || option->type == ND_TLLA) {
		mac = mac_of(option->mac);
		if (option->len != 1)
			return drop(ND_MALFORMED);
		if (!(ep->flags & EP_NO_SPOOF) && !mac_equal(&mac, &ep->mac))
			return drop(SPOOF_ND);
	}
	if (!take(c, more * 8))
		return drop(ND_MALFORMED);
	return NEXT;
}

/* Link-layer addresses in options must be the sender's own. */
static __always_inline __u32 nd_options(struct cursor *c, const struct endpoint *ep)
{
	__u32 v;

	for (int i = 0; i < ND_OPTIONS; i++) {
		if (c->pos + sizeof(struct nd_lladdr) > c->end)
			return NEXT;
		v = nd_option(c, ep);
		if (v)
			return v;
	}
	return c->pos + sizeof(struct nd_lladdr) > c->end ? NEXT : drop(ND_MALFORMED);
}

struct nd_answer {
	__u16 align;
	struct eth eth;
	struct ipv6 ip;
	struct nd na;
	struct nd_lladdr mac;
};

#define NA_LEN (sizeof(struct nd) + sizeof(struct nd_lladdr))

/* The answer to one without address goes to all nodes, as it cannot be addressed. */
static __always_inline void nd_address(struct packet *p, struct nd_answer *out)
{
	if (p->flags & PKT_NO_ADDRESS) {
		out->ip.dst[0] = bpf_htonl(0xff020000);
		out->ip.dst[3] = bpf_htonl(1);
		out->eth.dst[0] = out->eth.dst[1] = 0x33;
		out->eth.dst[5] = 1;
		return;
	}
	__builtin_memcpy(out->ip.dst, &p->saddr, sizeof(out->ip.dst));
	__builtin_memcpy(out->eth.dst, &p->src, 6);
	out->na.flags = NA_SOLICITED;
}

static __noinline __u32 nd_answer(struct packet *p, const struct neigh_entry *n,
				  const struct addr *target)
{
	struct nd_answer out = {};

	nd_address(p, &out);
	__builtin_memcpy(out.eth.src, &n->mac, 6);
	out.eth.type = ETHERTYPE_IPV6;
	out.ip.flow = bpf_htonl(6u << 28);
	out.ip.len = bpf_htons(NA_LEN);
	out.ip.next = PROTO_ICMPV6;
	out.ip.hops = 255;
	__builtin_memcpy(out.ip.src, target, sizeof(*target));
	out.na.type = ICMPV6_NA;
	out.na.flags |= NA_OVERRIDE | (n->flags & NEIGH_ROUTER ? NA_ROUTER : 0);
	__builtin_memcpy(out.na.target, target, sizeof(*target));
	out.mac.type = ND_TLLA;
	out.mac.len = 1;
	__builtin_memcpy(out.mac.mac, &n->mac, 6);
	out.na.check = csum_icmpv6(out.ip.src, 2 * sizeof(struct addr) + NA_LEN, NA_LEN);
	if (hook_resize(p->ctx, sizeof(out) - sizeof(out.align)))
		return drop(ROOM);
	if (hook_store(p->ctx, 0, &out.eth, sizeof(out) - sizeof(out.align)))
		return drop(ROOM);
	return reply(p, answer(ND_REPLY));
}

static __always_inline __u32 nd_solicited(struct packet *p, const struct endpoint *ep,
					  const struct addr *target)
{
	struct neigh_entry *n = neighbour(p->vni, 6, target);

	if (!n)
		return is_own_link_local(&ep->mac, target) ? drop(OWN_PROBE)
							   : announce(p, drop(ND_UNKNOWN));
	if (mac_equal(&n->mac, &ep->mac))
		return drop(OWN_PROBE);
	return nd_answer(p, n, target);
}

/* What of the sum does not depend on the message. */
static __always_inline __u64 nd_pseudo(const struct packet *p, __u32 n)
{
	__u64 sum = (__u64)bpf_htonl(n) + bpf_htonl(PROTO_ICMPV6);

	for (int i = 0; i < 4; i++)
		sum += (__u64)p->saddr.w[i] + p->daddr.w[i];
	return sum;
}

/* nd_check reads the whole message: all of it is in the linear part afterwards, and none of it is
 * damaged. The verifier wants a mask on where it is, which must not move it. A checksum that is left to a NIC has only the sum of the pseudo header in it.
 */
static __noinline __u32 nd_check(struct packet *p)
{
	__u32 n = p->l3_len - (p->l4 - p->l3), *w;
	__u64 pseudo = nd_pseudo(p, n), sum = pseudo;
	struct cursor c;
	__be16 check;

	hook_pull(p->ctx, p->len);
	c = cursor_at(p->ctx, p->l4 & 0xfff);
	if (n < sizeof(struct nd) || n > ND_MAX || n % 8 || p->l4 > 0xfff)
		return drop(ND_MALFORMED);
	for (__u32 i = 0; i < ND_MAX && i < n; i += 8) {
		w = take(&c, 8);
		if (!w)
			return drop(ND_MALFORMED);
		if (!i)
			check = w[0] >> 16;
		sum += (__u64)w[0] + w[1];
	}
	if (csum_words(sum) == 0xffff || check == csum_words(pseudo))
		return NEXT;
	return drop(ND_CHECKSUM);
}

/* from_ep_nd decides about solicitations and advertisements of an endpoint. */
static __noinline __u32 from_ep_nd(struct packet *p, const struct endpoint *ep)
{
	__u32 v = nd_check(p);
	struct addr target;
	struct cursor c;
	struct nd *nd;
	__u8 type;

	if (v)
		return v;
	c = cursor_at(p->ctx, p->l4 & 0xfff);
	nd = take(&c, sizeof(*nd));
	if (!nd || nd->code || p->hops != 255)
		return drop(ND_MALFORMED);
	__builtin_memcpy(&target, nd->target, sizeof(target));
	type = nd->type;
	if (((const __u8 *)&target)[0] == 0xff)
		return drop(ND_MALFORMED);
	v = nd_options(&c, ep);
	if (v)
		return v;
	if (type == ICMPV6_NS)
		return nd_solicited(p, ep, &target);
	if (!(ep->flags & EP_NO_SPOOF) && !owns_ipv6(ep, &target))
		return drop(SPOOF_ND);
	if (is_multicast(&p->dst))
		return announce(p, drop(ANNOUNCEMENT));
	return NEXT;
}

#endif
