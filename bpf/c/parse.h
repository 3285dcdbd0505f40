/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Parse: from bytes to struct packet. Whatever is accepted here has whole headers. */
#ifndef FOUNDRY_PARSE_H
#define FOUNDRY_PARSE_H

#include "packet.h"

#define EXTENSIONS 6 /* RFC 8200 names six, each once */

static __always_inline __u32 parse_tcp(struct packet *p, struct cursor *c)
{
	struct tcp *tcp = take(c, sizeof(*tcp));

	if (!tcp)
		return drop(L4_HEADER);
	p->ports = tcp->ports;
	p->l4_len = tcp->offset >> 4 << 2;
	return NEXT;
}

static __always_inline __u32 parse_l4(struct packet *p, struct cursor *c)
{
	struct icmp *icmp;
	struct udp *udp;

	if (p->flags & PKT_LATER)
		return NEXT;
	switch (p->proto) {
	case PROTO_TCP:
		return parse_tcp(p, c);
	case PROTO_UDP:
	case PROTO_SCTP:
		udp = take(c, sizeof(*udp));
		if (!udp)
			return drop(L4_HEADER);
		p->ports.src = udp->src;
		p->ports.dst = udp->dst;
		p->l4_len = sizeof(*udp);
		return NEXT;
	case PROTO_ICMP:
	case PROTO_ICMPV6:
		icmp = take(c, sizeof(*icmp));
		if (!icmp)
			return drop(L4_HEADER);
		p->icmp = icmp->type;
	}
	return NEXT;
}

/* The length in the header may be less than the frame has (padding) and, in a frame that is many
 * segments, wrong: the kernel writes it anew for each. It is zero where 16 bits do not suffice.
 */
static __always_inline __u32 parse_ipv4(struct packet *p, struct cursor *c)
{
	struct ipv4 *ip = take(c, sizeof(*ip));
	__u32 header, segments = hook_gso(p->ctx);

	if (!ip)
		return drop(IPV4_HEADER);
	header = (ip->version_ihl & 0xf) * 4;
	if (ip->version_ihl >> 4 != 4 || header < sizeof(*ip))
		return drop(IPV4_HEADER);
	if (bpf_ntohs(ip->len) < header && !(segments && !ip->len))
		return drop(IPV4_HEADER);
	if (!segments && p->l3 + bpf_ntohs(ip->len) > p->len)
		return drop(IPV4_HEADER);
	p->l3_len = bpf_ntohs(ip->len);
	p->tos = ip->tos;
	p->hops = ip->ttl;
	p->proto = ip->proto;
	p->saddr.w[0] = ip->src;
	p->daddr.w[0] = ip->dst;
	if (ip->frag & IPV4_DF)
		p->flags |= PKT_DF;
	if (ip->frag & (IPV4_MF | IPV4_OFFSET))
		p->flags |= PKT_FRAGMENT;
	if (ip->frag & IPV4_OFFSET)
		p->flags |= PKT_LATER;
	p->l4 = p->l3 + header;
	if (!take(c, header - sizeof(*ip)))
		return drop(IPV4_HEADER);
	return parse_l4(p, c);
}

/* extension steps over one header, whose length counts what is beyond its first 8 bytes. */
static __always_inline __u32 extension(struct packet *p, struct cursor *c)
{
	struct ipv6_ext *ext = take(c, 8);
	__u32 more;

	if (!ext)
		return drop(IPV6_HEADER);
	more = ext->len * 8;
	if (p->proto == PROTO_AH)
		more = ext->len * 4;
	if (p->proto == PROTO_FRAGMENT) {
		more = 0;
		p->flags |= PKT_FRAGMENT;
		if (ext->frag & bpf_htons(0xfff8))
			p->flags |= PKT_LATER;
	}
	p->proto = ext->next;
	p->l4 += 8 + more;
	if (!take(c, more))
		return drop(IPV6_HEADER);
	return NEXT;
}

static __always_inline int is_extension(__u8 proto)
{
	return proto == PROTO_HOPOPTS || proto == PROTO_ROUTING || proto == PROTO_FRAGMENT ||
	       proto == PROTO_AH || proto == PROTO_DSTOPTS || proto == PROTO_MOBILITY;
}

/* A chain longer than we walk is dropped: a router advertisement may hide at its end (RFC 7113). */
static __always_inline __u32 parse_chain(struct packet *p, struct cursor *c)
{
	__u32 v;

	for (int i = 0; i < EXTENSIONS; i++) {
		if (!is_extension(p->proto) || p->flags & PKT_LATER)
			return parse_l4(p, c);
		v = extension(p, c);
		if (v)
			return v;
	}
	if (is_extension(p->proto) && !(p->flags & PKT_LATER))
		return drop(IPV6_CHAIN);
	return parse_l4(p, c);
}

static __always_inline __u32 parse_ipv6(struct packet *p, struct cursor *c)
{
	struct ipv6 *ip = take(c, sizeof(*ip));

	if (!ip || bpf_ntohl(ip->flow) >> 28 != 6)
		return drop(IPV6_HEADER);
	if (!hook_gso(p->ctx) && p->l3 + sizeof(*ip) + bpf_ntohs(ip->len) > p->len)
		return drop(IPV6_HEADER);
	p->l3_len = ip->len ? bpf_ntohs(ip->len) + sizeof(*ip) : 0;
	p->tos = bpf_ntohl(ip->flow) >> 20;
	p->hops = ip->hops;
	p->proto = ip->next;
	__builtin_memcpy(&p->saddr, ip->src, sizeof(p->saddr));
	__builtin_memcpy(&p->daddr, ip->dst, sizeof(p->daddr));
	p->flags |= PKT_DF;
	p->l4 = p->l3 + sizeof(*ip);
	return parse_chain(p, c);
}

/* parse reads the frame that begins at p->base of what the hook has. */
static __noinline __u32 parse(struct packet *p)
{
	struct cursor c = cursor_at(p->ctx, p->base & 0xff);
	struct eth *eth = take(&c, sizeof(*eth));

	if (!eth)
		return drop(RUNT);
	p->dst = mac_of(eth->dst);
	p->src = mac_of(eth->src);
	p->type = eth->type;
	p->flags = 0;
	p->l3_len = 0;
	p->l4_len = 0;
	p->l3 = p->base + sizeof(*eth);
	if (hook_tagged(p->ctx))
		return drop(VLAN);
	switch (p->type) {
	case ETHERTYPE_IPV4:
		return parse_ipv4(p, &c);
	case ETHERTYPE_IPV6:
		return parse_ipv6(p, &c);
	case ETHERTYPE_ARP:
		return NEXT;
	case ETHERTYPE_VLAN:
	case ETHERTYPE_QINQ:
	case ETHERTYPE_OQINQ:
		return drop(VLAN);
	}
	return drop(ETHERTYPE);
}

/* parse_whole parses, and when headers are not in the linear part brings them there first. */
static __always_inline __u32 parse_whole(struct packet *p)
{
	__u32 v = parse(p);

	if (verdict_action(v) != ACT_DROP || !hook_pull(p->ctx, p->len))
		return v;
	return parse(p);
}

#endif
