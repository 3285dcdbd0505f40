/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Congestion marks of the underlay, handed to the packet that was inside (RFC 6040, 4.2). */
#ifndef FOUNDRY_ECN_H
#define FOUNDRY_ECN_H

#include "csum.h"
#include "encap.h"

/*  inner \ outer   Not-ECT  ECT(0)   ECT(1)   CE
 *  Not-ECT         Not-ECT  Not-ECT  Not-ECT  drop
 *  ECT(0)          ECT(0)   ECT(0)   ECT(1)   CE
 *  ECT(1)          ECT(1)   ECT(1)   ECT(1)   CE
 *  CE              CE       CE       CE       CE
 *
 * ecn_combine leaves in outer_ecn what the inner field has to become.
 */
static __always_inline __u32 ecn_combine(struct packet *p)
{
	__u8 inner = p->tos & ECN_MASK, outer = p->outer_ecn;

	p->outer_ecn = inner;
	if (!is_ip(p))
		return NEXT;
	if (outer == ECN_CE && inner == ECN_NOT_ECT)
		return drop(ECN);
	if (outer == ECN_CE || (outer == ECN_ECT1 && inner == ECN_ECT0))
		p->outer_ecn = outer;
	return NEXT;
}

static __always_inline __u32 ecn_write4(struct packet *p)
{
	struct ipv4 ip;

	if (hook_load(p->ctx, sizeof(struct eth), &ip, offsetof(struct ipv4, src)))
		return drop(ROOM);
	ip.check = csum_update(ip.check, bpf_htons(ip.tos),
			       bpf_htons((ip.tos & ~ECN_MASK) | p->outer_ecn));
	ip.tos = (ip.tos & ~ECN_MASK) | p->outer_ecn;
	if (hook_patch(p->ctx, sizeof(struct eth), &ip, offsetof(struct ipv4, src)))
		return drop(ROOM);
	return NEXT;
}

/* The traffic class lies across two bytes, ECN in the middle of the second. */
static __always_inline __u32 ecn_write6(struct packet *p)
{
	__u8 first[4];

	if (hook_load(p->ctx, sizeof(struct eth), first, sizeof(first)))
		return drop(ROOM);
	first[1] = (first[1] & ~(ECN_MASK << 4)) | p->outer_ecn << 4;
	if (hook_patch(p->ctx, sizeof(struct eth), first, sizeof(first)))
		return drop(ROOM);
	return NEXT;
}

/* ecn_write puts it into the packet, once that has lost its outer headers. */
static __always_inline __u32 ecn_write(struct packet *p)
{
	if (!is_ip(p) || p->outer_ecn == (p->tos & ECN_MASK))
		return NEXT;
	return p->type == ETHERTYPE_IPV4 ? ecn_write4(p) : ecn_write6(p);
}

#endif
