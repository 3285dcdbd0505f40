/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* "Packet too big", made of the packet itself (RFC 1191, RFC 8201). As the kernel's own tunnels do
 * on a bridge, it comes from the address that the packet was for: there may be no router here.
 */
#ifndef FOUNDRY_PMTU_H
#define FOUNDRY_PMTU_H

#include "csum.h"
#include "neigh.h"

#define QUOTE 512 /* bytes of the packet sent back: within the limits of RFC 1812 and RFC 4443 */

struct pmtu4 {
	__u16 align;
	struct eth eth;
	struct ipv4 ip;
	struct icmp icmp;
};

struct pmtu6 {
	__u16 align;
	struct eth eth;
	struct ipv6 ip;
	struct icmp icmp;
};

/* No errors about errors, about fragments, or to many. */
static __always_inline int may_complain(const struct packet *p)
{
	if (is_multicast(&p->dst) || p->flags & (PKT_LATER | PKT_NO_ADDRESS))
		return 0;
	if (!(p->flags & PKT_DF) || p->len < sizeof(struct eth) + QUOTE)
		return 0;
	if (p->type == ETHERTYPE_IPV4)
		return p->proto != PROTO_ICMP || p->icmp == ICMP_ECHO || p->icmp == ICMP_ECHO_REPLY;
	if (p->type == ETHERTYPE_IPV6)
		return p->proto != PROTO_ICMPV6 || p->icmp >= 128;
	return 0;
}

static __always_inline void turn_eth(const struct packet *p, struct eth *eth)
{
	__builtin_memcpy(eth->dst, &p->src, 6);
	__builtin_memcpy(eth->src, &p->dst, 6);
	eth->type = p->type;
}

static __noinline int write_pmtu4(struct packet *p, __u32 mtu, __u32 quote)
{
	struct pmtu4 o = {};

	turn_eth(p, &o.eth);
	o.ip.version_ihl = 0x45;
	o.ip.len = bpf_htons(sizeof(o.ip) + sizeof(o.icmp) + QUOTE);
	o.ip.frag = IPV4_DF;
	o.ip.ttl = 64;
	o.ip.proto = PROTO_ICMP;
	o.ip.src = p->daddr.w[0];
	o.ip.dst = p->saddr.w[0];
	o.ip.check = csum_ipv4(&o.ip);
	o.icmp.type = ICMP_UNREACHABLE;
	o.icmp.code = ICMP_FRAG_NEEDED;
	o.icmp.rest = bpf_htonl(mtu);
	o.icmp.check = csum_fold(csum_add(&o.icmp, sizeof(o.icmp), quote));
	if (hook_grow(p->ctx, sizeof(o.ip) + sizeof(o.icmp)))
		return -1;
	return hook_store(p->ctx, 0, &o.eth, sizeof(o) - offsetof(struct pmtu4, eth));
}

static __noinline int write_pmtu6(struct packet *p, __u32 mtu, __u32 quote)
{
	struct pmtu6 o = {};
	__u32 len = sizeof(o.icmp) + QUOTE;

	turn_eth(p, &o.eth);
	o.ip.flow = bpf_htonl(6u << 28);
	o.ip.len = bpf_htons(len);
	o.ip.next = PROTO_ICMPV6;
	o.ip.hops = 64;
	__builtin_memcpy(o.ip.src, &p->daddr, sizeof(o.ip.src));
	__builtin_memcpy(o.ip.dst, &p->saddr, sizeof(o.ip.dst));
	o.icmp.type = ICMPV6_TOO_BIG;
	o.icmp.rest = bpf_htonl(mtu);
	quote = csum_add(o.ip.src, 2 * sizeof(struct addr) + sizeof(o.icmp), quote);
	len = bpf_htonl(len) + bpf_htonl(PROTO_ICMPV6);
	o.icmp.check = csum_fold(csum_add(&len, sizeof(len), quote));
	if (hook_grow(p->ctx, sizeof(o.ip) + sizeof(o.icmp)))
		return -1;
	return hook_store(p->ctx, 0, &o.eth, sizeof(o) - offsetof(struct pmtu6, eth));
}

/* too_big drops a packet that does not fit into mtu and, if it may, tells its sender. */
static __noinline __u32 too_big(struct packet *p, __u32 mtu)
{
	struct cursor c;
	void *quoted;
	__u32 sum;

	if (!may_complain(p))
		return drop(TOO_BIG);
	if (hook_resize(p->ctx, sizeof(struct eth) + QUOTE) ||
	    hook_pull_all(p->ctx, sizeof(struct eth) + QUOTE))
		return drop(ROOM);
	c = cursor_at(p->ctx, sizeof(struct eth));
	quoted = take(&c, QUOTE);
	if (!quoted)
		return drop(ROOM);
	sum = csum_add(quoted, QUOTE, 0);
	if (p->type == ETHERTYPE_IPV4) {
		if (write_pmtu4(p, mtu, sum))
			return drop(ROOM);
		return reply(p, answer(PMTU_IPV4));
	}
	if (write_pmtu6(p, mtu, sum))
		return drop(ROOM);
	return reply(p, answer(PMTU_IPV6));
}

#endif
