/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* ARP (RFC 826, probes and announcements RFC 5227), answered from the map. */
#ifndef FOUNDRY_ARP_H
#define FOUNDRY_ARP_H

#include "bum.h"
#include "spoof.h"

#define ARP_ETHERNET bpf_htons(1)

static __always_inline int arp_valid(const struct arp *a)
{
	return a->htype == ARP_ETHERNET && a->ptype == ETHERTYPE_IPV4 && a->hlen == 6 &&
	       a->plen == 4 && (a->op == ARP_REQUEST || a->op == ARP_REPLY);
}

/* A probe has no sender address: it asks whether anybody has the one it wants. */
static __always_inline __u32 arp_check(const struct endpoint *ep, const struct arp *a)
{
	struct mac sha = mac_of(a->sha);
	__be32 spa = arp_ip(a->spa);

	if (ep->flags & EP_NO_SPOOF)
		return NEXT;
	if (!mac_equal(&sha, &ep->mac))
		return drop(SPOOF_ARP);
	if (!spa && a->op == ARP_REQUEST)
		return NEXT;
	return owns_ipv4(ep, spa) ? NEXT : drop(SPOOF_ARP);
}

static __always_inline __u32 arp_answer(struct packet *p, const struct arp *asked,
					const struct mac *mac)
{
	struct {
		struct eth eth;
		struct arp arp;
	} out;

	__builtin_memcpy(out.eth.dst, &p->src, 6);
	__builtin_memcpy(out.eth.src, mac, 6);
	out.eth.type = ETHERTYPE_ARP;
	out.arp = *asked;
	out.arp.op = ARP_REPLY;
	__builtin_memcpy(out.arp.sha, mac, 6);
	__builtin_memcpy(out.arp.spa, asked->tpa, 4);
	__builtin_memcpy(out.arp.tha, asked->sha, 6);
	__builtin_memcpy(out.arp.tpa, asked->spa, 4);
	if (hook_store(p->ctx, 0, &out, sizeof(out)))
		return drop(ROOM);
	return reply(p, answer(ARP_REPLY));
}

/* from_ep_arp decides about ARP of an endpoint: whether it may say so, and what it gets to hear. */
static __noinline __u32 from_ep_arp(struct packet *p, const struct endpoint *ep)
{
	struct cursor c = cursor_at(p->ctx, sizeof(struct eth));
	struct arp *seen = take(&c, sizeof(*seen)), a;
	struct neigh_entry *n;
	struct addr target = {};
	__u32 v;

	if (!seen)
		return drop(ARP_MALFORMED);
	a = *seen;
	if (!arp_valid(&a))
		return drop(ARP_MALFORMED);
	v = arp_check(ep, &a);
	if (v)
		return v;
	target.w[0] = arp_ip(a.tpa);
	if (target.w[0] == arp_ip(a.spa))
		return announce(p, drop(ANNOUNCEMENT));
	if (a.op == ARP_REPLY)
		return NEXT;
	n = neighbour(p->vni, 4, &target);
	if (!n)
		return announce(p, drop(ARP_UNKNOWN));
	if (mac_equal(&n->mac, &ep->mac))
		return drop(OWN_PROBE);
	return arp_answer(p, &a, &n->mac);
}

#endif
