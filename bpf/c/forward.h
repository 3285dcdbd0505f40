/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What an endpoint sends: check, answer, or forward by the FDB of its VNI. */
#ifndef FOUNDRY_FORWARD_H
#define FOUNDRY_FORWARD_H

#include "arp.h"
#include "nd.h"
#include "parse.h"
#include "pmtu.h"

static __always_inline struct fdb_entry *fdb_find(__u32 vni, const struct mac *mac)
{
	struct fdb_key key = {.vni = vni, .mac = *mac};

	return bpf_map_lookup_elem(&fdb, &key);
}

static __always_inline __u32 to_local(struct packet *p, const struct fdb_entry *f)
{
	if (HOOK_DEFERS && !(f->flags & FDB_XDP))
		return pass(DEFERRED);
	if (f->mtu && l3_size(p) > f->mtu)
		return too_big(p, f->mtu);
	p->ret = hook_local(p->ctx, f->target, 0);
	if (!hook_redirected(p->ret))
		return drop(NO_DEVICE);
	p->to = f->endpoint;
	return VERDICT(ACT_REDIRECT, REASON_LOCAL);
}

static __always_inline __u32 to_remote(struct packet *p, const struct fdb_entry *f)
{
	struct vtep_entry *v = bpf_map_lookup_elem(&vtep, &f->target);
	struct config *c = config();

	if (!v)
		return drop(VTEP_UNKNOWN);
	if (v->state == VTEP_DOWN)
		return drop(VTEP_DOWN);
	if (HOOK_DEFERS && (!c || !(c->flags & CFG_XDP_XMIT) || v->state == VTEP_STALE || v->tunnel))
		return pass(DEFERRED);
	if (v->mtu && l3_size(p) > v->mtu)
		return too_big(p, v->mtu);
	return encap(p, v);
}

static __noinline __u32 forward(struct packet *p)
{
	struct fdb_entry *f;

	if (is_multicast(&p->dst))
		return from_ep_bum(p);
	f = fdb_find(p->vni, &p->dst);
	if (!f)
		return drop(FDB_MISS);
	switch (f->type) {
	case FDB_LOCAL:
		if (f->target == p->ifindex)
			return drop(SELF);
		return to_local(p, f);
	case FDB_REMOTE:
		return to_remote(p, f);
	case FDB_GATEWAY:
		return pass(GATEWAY);
	case FDB_BLACKHOLE:
		break;
	}
	return drop(BLACKHOLE);
}

static __always_inline int is_solicitation(const struct packet *p)
{
	return p->type == ETHERTYPE_IPV6 && p->proto == PROTO_ICMPV6 && !(p->flags & PKT_LATER) &&
	       (p->icmp == ICMPV6_NS || p->icmp == ICMPV6_NA);
}

static __always_inline __u32 from_ep(struct packet *p)
{
	struct endpoint *ep = bpf_map_lookup_elem(&ep_by_ifindex, &p->ifindex);
	__u32 v;

	if (!ep)
		return drop(NO_ENDPOINT);
	p->vni = ep->vni;
	p->endpoint = ep->id;
	v = parse_whole(p);
	if (v)
		return v;
	v = check_source(p, ep);
	if (v)
		return v;
	if (p->type == ETHERTYPE_ARP)
		v = from_ep_arp(p, ep);
	else if (is_solicitation(p))
		v = from_ep_nd(p, ep);
	return v ? v : forward(p);
}

#endif
