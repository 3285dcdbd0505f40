/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Broadcast, unknown neighbours and multicast: copied to each receiver of the VNI (head-end
 * replication), or not at all.
 */
#ifndef FOUNDRY_BUM_H
#define FOUNDRY_BUM_H

#include "encap.h"

#define RATE_UPLINK (1u << 31)

struct flood {
	struct packet *p;
	void *list;
	__u32 family; /* of the room that was made for outer headers, 0 before */
	__u32 sent;
};

/* due says whether a sender may broadcast now, and if so notes when the next is due. A lost race
 * lets one more through.
 */
static __always_inline int due(__u32 key, const struct vni_entry *n)
{
	__u64 now = bpf_ktime_get_ns(), first = now + n->bum_interval, at, base;
	__u64 *next = bpf_map_lookup_elem(&rate, &key);

	if (!n->bum_interval)
		return 1;
	if (!next)
		return !bpf_map_update_elem(&rate, &key, &first, BPF_ANY);
	at = *next;
	base = at > now ? at : now;
	if (base - now + n->bum_interval > n->bum_interval * n->bum_burst)
		return 0;
	__sync_val_compare_and_swap(next, at, base + n->bum_interval);
	return 1;
}

static __always_inline void count_flooded(struct flood *f, __u32 endpoint)
{
	struct stats_key key = {
		.endpoint = endpoint,
		.reason = REASON_FLOODED,
		.action = ACT_FLOOD,
		.direction = DIR_TO,
	};

	f->sent++;
	if (endpoint)
		count_endpoint(&key, f->p->len - f->p->base);
}

static __always_inline int is_end(const struct receiver *r)
{
	return !r || (!r->ifindex && !r->vtep);
}

static __noinline int copy_local(struct flood *f, const struct receiver *r)
{
	if (r->ifindex && r->ifindex != f->p->ifindex && !hook_clone(f->p->ctx, r->ifindex))
		count_flooded(f, r->endpoint);
	return 0;
}

/* A callback of bpf_loop: 1 ends the loop. */
static long flood_local(__u32 i, struct flood *f)
{
	struct receiver *r = bpf_map_lookup_elem(f->list, &i);

	if (is_end(r))
		return 1;
	return copy_local(f, r);
}

/* The first VTEP of a list decides what room is made, as a frame can be grown but once. The kernel's
 * VXLAN device takes its headers from beside the frame: that must not have any yet.
 */
static __always_inline int flood_room(struct flood *f, const struct vtep_entry *v)
{
	if (!f->family && !v->tunnel) {
		if (encap_room(f->p, v))
			return -1;
		f->family = v->family;
	}
	if (v->tunnel ? !f->family : f->family == v->family)
		return 0;
	count_total(ACT_DROP, REASON_BUM_FAMILY, f->p->len);
	return -1;
}

static __always_inline int copy_remote(struct flood *f, const struct vtep_entry *v)
{
	if (flood_room(f, v))
		return -1;
	if (v->tunnel)
		return address(f->p, v) || hook_clone(f->p->ctx, v->tunnel);
	return write_outer(f->p, v) || hook_clone(f->p->ctx, v->ifindex);
}

static long flood_remote(__u32 i, struct flood *f)
{
	struct receiver *r = bpf_map_lookup_elem(f->list, &i);
	struct vtep_entry *v;

	if (is_end(r))
		return 1;
	if (r->ifindex)
		return 0;
	v = bpf_map_lookup_elem(&vtep, &r->vtep);
	if (!v || v->state == VTEP_DOWN)
		return 0;
	if (v->mtu && l3_size(f->p) > v->mtu) {
		count_total(ACT_DROP, REASON_TOO_BIG, f->p->len);
		return 0;
	}
	if (!copy_remote(f, v))
		count_flooded(f, 0);
	return 0;
}

/* flood copies a frame to local receivers first, while it has no outer headers; and to VTEPs only
 * what came from an endpoint: what came from a VTEP has been there (split horizon).
 */
static __noinline __u32 flood(struct packet *p, __u32 remote)
{
	struct flood f = {.p = p};

	f.list = bpf_map_lookup_elem(&bum, &p->vni);
	if (!f.list)
		return drop(BUM_EMPTY);
	bpf_loop(RECEIVERS_MAX, flood_local, &f, 0);
	if (remote)
		bpf_loop(RECEIVERS_MAX, flood_remote, &f, 0);
	if (!f.sent)
		return drop(BUM_EMPTY);
	return VERDICT(ACT_FLOOD, REASON_FLOODED);
}

static __always_inline int floods(const struct packet *p)
{
	struct vni_entry *n = bpf_map_lookup_elem(&vni, &p->vni);

	return n && n->flags & VNI_BUM;
}

/* from_ep_bum floods a frame of an endpoint. */
static __noinline __u32 from_ep_bum(struct packet *p)
{
	struct vni_entry *n = bpf_map_lookup_elem(&vni, &p->vni);

	if (!n || !(n->flags & VNI_BUM))
		return drop(BUM_OFF);
	if (HOOK_DEFERS)
		return pass(DEFERRED);
	if (!due(p->endpoint, n))
		return drop(BUM_RATE);
	return flood(p, 1);
}

/* announce: what the map answers nobody needs to hear. Where broadcasts are on, somebody behind a
 * VTEP may not have our map.
 */
static __always_inline __u32 announce(struct packet *p, __u32 otherwise)
{
	if (!is_multicast(&p->dst) || !floods(p))
		return otherwise;
	return from_ep_bum(p);
}

#endif
