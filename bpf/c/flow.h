/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Which flow a frame is of. */
#ifndef FOUNDRY_FLOW_H
#define FOUNDRY_FLOW_H

#include "packet.h"

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

#endif
