/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Who has an address. */
#ifndef FOUNDRY_NEIGH_H
#define FOUNDRY_NEIGH_H

#include "leave.h"

static __always_inline struct neigh_entry *neighbour(__u32 vni, __u32 family, const struct addr *ip)
{
	struct neigh_key key = {.vni = vni, .family = family, .ip = *ip};

	return bpf_map_lookup_elem(&neigh, &key);
}

/* The address that a device makes of its MAC (RFC 4291, appendix A). */
static __always_inline int is_own_link_local(const struct mac *m, const struct addr *ip)
{
	__u32 high = (__u32)(m->b[0] ^ 2) << 24 | m->b[1] << 16 | m->b[2] << 8 | 0xff;
	__u32 low = 0xfe000000u | m->b[3] << 16 | m->b[4] << 8 | m->b[5];

	return ip->w[0] == bpf_htonl(0xfe800000) && !ip->w[1] && ip->w[2] == bpf_htonl(high) &&
	       ip->w[3] == bpf_htonl(low);
}

static __noinline int owns_other(const struct endpoint *ep, __u32 family, const struct addr *ip)
{
	struct neigh_entry *n = neighbour(ep->vni, family, ip);

	return n && mac_equal(&n->mac, &ep->mac);
}

/* owns: an endpoint may use its own two addresses and all that the map gives its MAC. */
static __always_inline int owns_ipv4(const struct endpoint *ep, __be32 ip)
{
	struct addr a = {.w = {ip}};

	return (ip && ip == ep->ip4) || owns_other(ep, 4, &a);
}

static __always_inline int owns_ipv6(const struct endpoint *ep, const struct addr *ip)
{
	return (addr_equal(ip, &ep->ip6) && !addr_zero(ip)) || is_own_link_local(&ep->mac, ip) ||
	       owns_other(ep, 6, ip);
}

/* reply sends the frame, rewritten, back to whom it came from. */
static __always_inline __u32 reply(struct packet *p, __u32 v)
{
	p->ret = hook_reply(p->ctx, p->ifindex);
	return v;
}

#define answer(reason) VERDICT(ACT_REPLY, REASON_##reason)

#endif
