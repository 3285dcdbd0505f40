/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* VXLAN, inwards, where the kernel's own device takes the outer headers off. It has checked them,
 * and handed congestion marks down; who may send and to whom is our matter all the same.
 */
#ifndef FOUNDRY_TUNNEL_H
#define FOUNDRY_TUNNEL_H

#include "decap.h"

/* tunnel_source asks what the outer headers had. The kernel writes IPv4 addresses in its own byte
 * order, and IPv6 addresses in the network's.
 */
static __always_inline __u32 tunnel_source(struct packet *p, struct underlay *u)
{
	struct bpf_tunnel_key from = {};

	if (!bpf_skb_get_tunnel_key(p->ctx, &from, sizeof(from), 0)) {
		u->from.family = 4;
		u->from.ip.w[0] = bpf_htonl(from.remote_ipv4);
	} else if (!bpf_skb_get_tunnel_key(p->ctx, &from, sizeof(from), BPF_F_TUNINFO_IPV6)) {
		u->from.family = 6;
		__builtin_memcpy(&u->from.ip, from.remote_ipv6, sizeof(u->from.ip));
	} else {
		return drop(NO_TUNNEL);
	}
	p->vni = from.tunnel_id;
	return NEXT;
}

static __always_inline __u32 from_tunnel(struct packet *p)
{
	struct config *cfg = config();
	struct underlay u = {};
	__u32 v;

	if (!cfg || cfg->abi != ABI)
		return drop(NO_TUNNEL);
	v = tunnel_source(p, &u);
	return v ? v : inward(p, &u, 0);
}

#endif
