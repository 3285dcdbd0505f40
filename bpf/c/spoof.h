/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What an endpoint may claim to be. ARP and ND are looked at where they are answered. */
#ifndef FOUNDRY_SPOOF_H
#define FOUNDRY_SPOOF_H

#include "neigh.h"

#define DHCP_SERVER   bpf_htons(67)
#define DHCP_CLIENT   bpf_htons(68)
#define DHCPV6_SERVER bpf_htons(547)

static __always_inline __u32 check_ipv4(struct packet *p, const struct endpoint *ep)
{
	int udp = p->proto == PROTO_UDP && !(p->flags & PKT_LATER);

	if (udp && p->ports.src == DHCP_SERVER)
		return drop(ROGUE_DHCP);
	if (owns_ipv4(ep, p->saddr.w[0]))
		return NEXT;
	/* A DHCP client has no address yet. */
	if (!p->saddr.w[0] && udp && p->ports.src == DHCP_CLIENT && p->ports.dst == DHCP_SERVER)
		return NEXT;
	return drop(SPOOF_IPV4);
}

static __always_inline int is_nd(__u8 type)
{
	return type >= ICMPV6_RS && type <= ICMPV6_REDIRECT;
}

/* What may come from ::, by RFC 4862 and RFC 3590. */
static __always_inline int may_lack_address(const struct packet *p)
{
	return p->proto == PROTO_ICMPV6 && !(p->flags & PKT_LATER) &&
	       (p->icmp == ICMPV6_NS || p->icmp == ICMPV6_RS || p->icmp == ICMPV6_MLD_REPORT ||
		p->icmp == ICMPV6_MLD_DONE || p->icmp == ICMPV6_MLD2);
}

static __always_inline __u32 check_ipv6(struct packet *p, const struct endpoint *ep)
{
	int first = !(p->flags & PKT_LATER);

	if (first && p->proto == PROTO_UDP && p->ports.src == DHCPV6_SERVER)
		return drop(ROGUE_DHCP);
	if (first && p->proto == PROTO_ICMPV6) {
		if (p->icmp == ICMPV6_RA || p->icmp == ICMPV6_REDIRECT)
			return drop(ROGUE_RA);
		if (is_nd(p->icmp) && p->flags & PKT_FRAGMENT)
			return drop(ND_FRAGMENT);
	}
	if (addr_zero(&p->saddr)) {
		p->flags |= PKT_NO_ADDRESS;
		return may_lack_address(p) ? NEXT : drop(SPOOF_IPV6);
	}
	return owns_ipv6(ep, &p->saddr) ? NEXT : drop(SPOOF_IPV6);
}

static __always_inline __u32 check_source(struct packet *p, const struct endpoint *ep)
{
	if (ep->flags & EP_NO_SPOOF)
		return NEXT;
	if (!mac_equal(&p->src, &ep->mac))
		return drop(SPOOF_MAC);
	if (p->type == ETHERTYPE_IPV4)
		return check_ipv4(p, ep);
	if (p->type == ETHERTYPE_IPV6)
		return check_ipv6(p, ep);
	return NEXT;
}

#endif
