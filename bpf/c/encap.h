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

/* Mix 32 bits so that each bit of the input changes about half of the output. */
static __always_inline __u32 mix(__u32 h)
{
	h ^= h >> 16;
	h *= 0x85ebca6b;
	h ^= h >> 13;
	h *= 0xc2b2ae35;
	return h ^ h >> 16;
}

/* flow_hash is the same for all packets of a flow, fragments included where the hook has no hash of
 * its own: those have no ports.
 */
static __always_inline __u32 flow_hash(const struct packet *p)
{
	__u32 hash = hook_hash(p->ctx), ports = 0;

	if (hash)
		return hash;
	if (!(p->flags & PKT_FRAGMENT))
		ports = (__u32)p->ports.src << 16 | p->ports.dst;
	hash = mix(p->saddr.w[0] ^ p->saddr.w[1] ^ p->saddr.w[2] ^ p->saddr.w[3]);
	hash = mix(hash ^ p->daddr.w[0] ^ p->daddr.w[1] ^ p->daddr.w[2] ^ p->daddr.w[3]);
	hash = mix(hash ^ ports ^ p->proto);
	return mix(hash ^ *(const __u32 *)&p->src.b[0] ^ *(const __u32 *)&p->dst.b[2]);
}

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

static __always_inline __u32 encap(struct packet *p, const struct vtep_entry *v)
{
	if (encap_room(p, v) || write_outer(p, v))
		return drop(ROOM);
	p->ret = hook_remote(p->ctx, v->ifindex, v->state == VTEP_STALE);
	if (!hook_redirected(p->ret))
		return drop(NO_DEVICE);
	return VERDICT(ACT_REDIRECT, REASON_REMOTE);
}

#endif
