/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* VXLAN, outwards (RFC 7348). */
#ifndef FOUNDRY_ENCAP_H
#define FOUNDRY_ENCAP_H

#include "csum.h"
#include "leave.h"

/* The L3 headers of both begin at a multiple of 4. */
struct outer4 {
	__u16 align;
	struct eth eth;
	struct ipv4 ip;
	struct udp udp;
	struct vxlan vxlan;
	struct eth inner;
};

struct outer6 {
	__u16 align;
	struct eth eth;
	struct ipv6 ip;
	struct udp udp;
	struct vxlan vxlan;
	struct eth inner;
};

#define OUTER4 (offsetof(struct outer4, inner) - offsetof(struct outer4, eth))
#define OUTER6 (offsetof(struct outer6, inner) - offsetof(struct outer6, eth))

_Static_assert(OUTER4 == 50 && OUTER6 == 70, "padding in outer headers");
_Static_assert(OUTER6 + 2 == sizeof(((struct vtep_entry *)0)->outer), "a VTEP's headers");

#define SOURCE_PORTS 16384 /* 49152 and up, of which a flow has one */

/* Between them lies the choice of a path, so all the range counts. */
static __always_inline __be16 source_port(__u32 hash)
{
	return bpf_htons(49152 + (__u32)((__u64)hash * SOURCE_PORTS >> 32));
}

/* Of a frame that is many segments the kernel writes the lengths anew: it may be more than 16 bits. */
static __always_inline __be16 length(__u32 n)
{
	return bpf_htons(n > 0xffff ? 0xffff : n);
}

static __always_inline void inner_eth(const struct packet *p, struct eth *eth)
{
	__builtin_memcpy(eth->dst, &p->dst, 6);
	__builtin_memcpy(eth->src, &p->src, 6);
	eth->type = p->type;
}

/* RFC 6040: the ECN field is copied outwards, and with it alone nothing else of the inner header. */
static __noinline int write_outer4(struct packet *p, const struct vtep_entry *v)
{
	struct outer4 o;
	__u32 len = p->len + sizeof(struct vxlan) + sizeof(struct udp);

	__builtin_memcpy(&o, v->outer, offsetof(struct outer4, inner));
	o.ip.tos = p->tos & ECN_MASK;
	o.ip.len = length(len + sizeof(struct ipv4));
	o.ip.check = 0;
	o.ip.check = csum_ipv4(&o.ip);
	o.udp.src = source_port(p->hash);
	o.udp.len = length(len);
	o.vxlan.vni = bpf_htonl(p->vni << 8);
	inner_eth(p, &o.inner);
	return hook_store(p->ctx, 0, &o.eth, OUTER4 + sizeof(o.inner));
}

/* The UDP checksum stays zero (RFC 6935): segments are not summed up yet when we see them. The flow
 * label repeats the entropy of the port (RFC 6438).
 */
static __noinline int write_outer6(struct packet *p, const struct vtep_entry *v)
{
	struct outer6 o;
	__u32 len = p->len + sizeof(struct vxlan) + sizeof(struct udp);

	__builtin_memcpy(&o, v->outer, offsetof(struct outer6, inner));
	o.ip.flow = bpf_htonl(6u << 28 | (p->tos & ECN_MASK) << 20 | (p->hash & 0xfffff));
	o.ip.len = length(len);
	o.udp.src = source_port(p->hash);
	o.udp.len = length(len);
	o.vxlan.vni = bpf_htonl(p->vni << 8);
	inner_eth(p, &o.inner);
	return hook_store(p->ctx, 0, &o.eth, OUTER6 + sizeof(o.inner));
}

static __always_inline int is_ip(const struct packet *p)
{
	return p->type == ETHERTYPE_IPV4 || p->type == ETHERTYPE_IPV6;
}

/* encap_room makes room for the outer headers that write_outer fills; several times, when a frame
 * goes to several VTEPs.
 */
static __always_inline int encap_room(struct packet *p, const struct vtep_entry *v)
{
	int v6 = v->family == 6;
	__u32 n = v6 ? OUTER6 : OUTER4;

	p->hash = flow_hash(p);
	if (!is_ip(p))
		p->tos = 0;
	return hook_encap(p->ctx, n, is_ip(p), v6);
}

static __always_inline int write_outer(struct packet *p, const struct vtep_entry *v)
{
	return v->family == 6 ? write_outer6(p, v) : write_outer4(p, v);
}

/* address says to the kernel's VXLAN device where it has to send the frame. It copies ECN by itself.
 * Without checksum over IPv4 only: over IPv6 the device sums up what it sends, as RFC 8200 wants it.
 */
static __noinline int address(struct packet *p, const struct vtep_entry *v)
{
	struct bpf_tunnel_key to = {.tunnel_id = p->vni, .tunnel_ttl = VTEP_TTL};
	const struct outer4 *o4 = (const void *)v->outer;
	const struct outer6 *o6 = (const void *)v->outer;

	if (v->family == 6) {
		__builtin_memcpy(to.remote_ipv6, &v->ip, sizeof(to.remote_ipv6));
		__builtin_memcpy(to.local_ipv6, o6->ip.src, sizeof(to.local_ipv6));
		to.tunnel_label = flow_hash(p) & 0xfffff;
	} else {
		to.remote_ipv4 = bpf_ntohl(v->ip.w[0]);
		to.local_ipv4 = bpf_ntohl(o4->ip.src);
	}
	return hook_address(p->ctx, &to, v->family == 6);
}

static __always_inline __u32 to_tunnel(struct packet *p, const struct vtep_entry *v)
{
	if (address(p, v))
		return drop(ROOM);
	p->ret = hook_remote(p->ctx, v->tunnel, 0);
	if (!hook_redirected(p->ret))
		return drop(NO_DEVICE);
	return VERDICT(ACT_REDIRECT, REASON_REMOTE);
}

static __always_inline __u32 encap(struct packet *p, const struct vtep_entry *v)
{
	if (v->tunnel)
		return to_tunnel(p, v);
	if (encap_room(p, v) || write_outer(p, v))
		return drop(ROOM);
	p->ret = hook_remote(p->ctx, v->ifindex, v->state == VTEP_STALE);
	if (!hook_redirected(p->ret))
		return drop(NO_DEVICE);
	return VERDICT(ACT_REDIRECT, REASON_REMOTE);
}

#endif
