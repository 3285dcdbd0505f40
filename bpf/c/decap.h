/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* VXLAN, inwards: what comes in on the uplink. */
#ifndef FOUNDRY_DECAP_H
#define FOUNDRY_DECAP_H

#include "ecn.h"
#include "forward.h"

/* Where a frame on the underlay came from. */
struct underlay {
	struct vtep_key from;
	__u32 fragment;
};

/* The kernel judges IP headers that are none of ours. */
static __always_inline __u32 outer_ipv4(struct packet *p, struct cursor *c, struct underlay *u,
					const struct config *cfg)
{
	struct ipv4 *ip = take(c, sizeof(*ip));
	__u32 header;

	if (!ip || ip->version_ihl >> 4 != 4 || ip->proto != PROTO_UDP)
		return pass(NOT_OURS);
	header = (ip->version_ihl & 0xf) * 4;
	if (header < sizeof(*ip) || !cfg->vtep4.w[0] || ip->dst != cfg->vtep4.w[0] ||
	    ip->frag & IPV4_OFFSET)
		return pass(NOT_OURS);
	u->from.family = 4;
	u->from.ip.w[0] = ip->src;
	u->fragment = ip->frag & IPV4_MF;
	p->outer_ecn = ip->tos & ECN_MASK;
	p->base += header;
	return take(c, header - sizeof(*ip)) ? NEXT : pass(NOT_OURS);
}

static __always_inline __u32 outer_ipv6(struct packet *p, struct cursor *c, struct underlay *u,
					const struct config *cfg)
{
	struct ipv6 *ip = take(c, sizeof(*ip));
	struct addr dst;

	if (!ip || bpf_ntohl(ip->flow) >> 28 != 6 || ip->next != PROTO_UDP)
		return pass(NOT_OURS);
	__builtin_memcpy(&dst, ip->dst, sizeof(dst));
	if (addr_zero(&dst) || !addr_equal(&dst, &cfg->vtep6))
		return pass(NOT_OURS);
	u->from.family = 6;
	__builtin_memcpy(&u->from.ip, ip->src, sizeof(u->from.ip));
	p->outer_ecn = bpf_ntohl(ip->flow) >> 20 & ECN_MASK;
	p->base += sizeof(*ip);
	return NEXT;
}

/* RFC 7348: reserved bits are ignored, I must be set, and a checksum may be left to others. */
static __always_inline __u32 outer_vxlan(struct packet *p, struct cursor *c, struct underlay *u,
					 const struct config *cfg)
{
	struct udp *udp = take(c, sizeof(*udp));
	struct vxlan *vxlan;

	if (!udp || udp->dst != cfg->port)
		return pass(NOT_OURS);
	if (u->fragment)
		return drop(OUTER_FRAGMENT);
	vxlan = take(c, sizeof(*vxlan));
	if (!vxlan || bpf_ntohs(udp->len) < sizeof(*udp) + sizeof(*vxlan))
		return drop(VXLAN_SHORT);
	if (!(vxlan->flags & VXLAN_FLAGS))
		return drop(VXLAN_FLAG);
	p->vni = bpf_ntohl(vxlan->vni) >> 8;
	p->base += sizeof(*udp) + sizeof(*vxlan);
	return NEXT;
}

/* parse_outer finds the inner frame, or says that there is none for us. */
static __noinline __u32 parse_outer(struct packet *p, struct underlay *u)
{
	struct cursor c = cursor_at(p->ctx, 0);
	struct eth *eth = take(&c, sizeof(*eth));
	struct config *cfg = config();
	__u32 v = pass(NOT_OURS);

	if (!eth || !cfg || cfg->abi != ABI)
		return v;
	p->base = sizeof(*eth);
	if (eth->type == ETHERTYPE_IPV4)
		v = outer_ipv4(p, &c, u, cfg);
	else if (eth->type == ETHERTYPE_IPV6)
		v = outer_ipv6(p, &c, u, cfg);
	return v ? v : outer_vxlan(p, &c, u, cfg);
}

/* known_vni: only VNIs that are here. Not asked about what the FDB knows, which is of one. */
static __always_inline int known_vni(const struct packet *p)
{
	return bpf_map_lookup_elem(&vni, &p->vni) != NULL;
}

/* Only VTEPs that we know. */
static __always_inline int known_vtep(const struct underlay *u)
{
	return bpf_map_lookup_elem(&vtep_by_ip, &u->from) != NULL;
}

/* l3_change tells adjust_room what protocol appears when it is not that of the outer header. ARP has
 * none, but is too short for what would otherwise be taken for IPv6.
 */
static __always_inline __u64 l3_change(const struct packet *p, __u32 family)
{
	if (family == 6 && p->type != ETHERTYPE_IPV6)
		return ADJ_ROOM_DECAP_L3_IPV4;
	if (family == 4 && p->type == ETHERTYPE_IPV6)
		return ADJ_ROOM_DECAP_L3_IPV6;
	return 0;
}

/* decap takes the outer headers off, of family 4 or 6, or 0 when the kernel has; relearn is set when
 * it does not know what is left.
 */
static __noinline __u32 decap(struct packet *p, __u32 family, __u32 *relearn)
{
	struct eth eth;
	int unknown;
	__u32 v;

	if (!family)
		return NEXT;
	v = ecn_combine(p);
	if (v)
		return v;
	inner_eth(p, &eth);
	unknown = hook_decap(p->ctx, p->base & 0xff, l3_change(p, family));
	if (unknown < 0 || hook_inner(p->ctx, &eth))
		return drop(ROOM);
	*relearn = unknown || !is_ip(p);
	return ecn_write(p);
}

/* Some frames of many segments lose what is needed to cut them up. The kernel goes on taking segments
 * of UDP for those of a tunnel, and drops them at the socket without a word. And a NIC that merges
 * UDP for forwarding merges the outer packets: then there are several frames behind the first.
 */
static __always_inline int is_indivisible(const struct packet *p, __u32 family)
{
	if (!hook_gso(p->ctx) || !family)
		return 0;
	return p->proto == PROTO_UDP || (p->l3_len && p->l3_len != p->len - p->l3);
}

static __noinline __u32 uplink_to_local(struct packet *p, const struct fdb_entry *f, __u32 family)
{
	__u32 relearn = 0, v;

	if (HOOK_DEFERS && !(f->flags & FDB_XDP))
		return pass(DEFERRED);
	if (f->mtu && l3_size(p) > f->mtu)
		return drop(TOO_BIG);
	if (is_indivisible(p, family))
		return drop(SEGMENTS);
	v = decap(p, family, &relearn);
	if (v)
		return v;
	p->ret = hook_local(p->ctx, f->target, relearn);
	if (!hook_redirected(p->ret))
		return drop(NO_DEVICE);
	p->to = f->endpoint;
	return VERDICT(ACT_REDIRECT, REASON_DECAPSULATED);
}

static __noinline __u32 uplink_to_all(struct packet *p, __u32 family)
{
	struct vni_entry *n = bpf_map_lookup_elem(&vni, &p->vni);
	__u32 relearn = 0, v;

	if (!n || !(n->flags & VNI_BUM))
		return drop(BUM_OFF);
	if (HOOK_DEFERS)
		return pass(DEFERRED);
	if (!due(p->vni | RATE_UPLINK, n))
		return drop(BUM_RATE);
	v = decap(p, family, &relearn);
	return v ? v : flood(p, 0);
}

/* inward forwards what came out of a tunnel: to this host only. */
static __always_inline __u32 inward(struct packet *p, const struct underlay *u, __u32 family)
{
	__u32 v = parse_whole(p);
	struct fdb_entry *f = NULL;

	if (!v)
		f = fdb_find(p->vni, &p->dst);
	if (!f && !known_vni(p))
		return drop(VNI_UNKNOWN);
	if (!known_vtep(u))
		return drop(VTEP_UNKNOWN);
	if (v)
		return v;
	if (is_multicast(&p->dst))
		return uplink_to_all(p, family);
	if (!f)
		return drop(FDB_MISS);
	if (f->type == FDB_LOCAL)
		return uplink_to_local(p, f, family);
	return f->type == FDB_BLACKHOLE ? drop(BLACKHOLE) : drop(NOT_LOCAL);
}

static __always_inline __u32 from_uplink(struct packet *p)
{
	struct underlay u = {};
	__u32 v = parse_outer(p, &u);

	if (verdict_action(v) == ACT_PASS && hook_pull(p->ctx, p->len))
		v = parse_outer(p, &u);
	return v ? v : inward(p, &u, u.from.family);
}

#endif
