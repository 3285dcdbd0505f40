/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The hook of tcx and clsact: what struct __sk_buff can do. hook_xdp.h has the same functions, so
 * that the rest of the tree is written once.
 */
#ifndef FOUNDRY_HOOK_H
#define FOUNDRY_HOOK_H

#include "maps.h"

typedef struct __sk_buff hook_t;

#define HOOK_DEFERS 0	/* decides about every frame */
#define HEADERS_MAX 256 /* bytes that are made linear when the first parse found too few */

static __always_inline void *hook_data(hook_t *ctx)
{
	return (void *)(long)ctx->data;
}

static __always_inline void *hook_end(hook_t *ctx)
{
	return (void *)(long)ctx->data_end;
}

static __always_inline __u32 hook_len(hook_t *ctx)
{
	return ctx->len;
}

static __always_inline __u32 hook_ifindex(hook_t *ctx)
{
	return ctx->ifindex;
}

static __always_inline __u32 hook_gso(hook_t *ctx)
{
	return ctx->gso_size;
}

static __always_inline int hook_tagged(hook_t *ctx)
{
	return ctx->vlan_present;
}

/* hook_pull makes n bytes linear; 0 when there is nothing to gain by it. */
static __always_inline int hook_pull(hook_t *ctx, __u32 n)
{
	if (n > HEADERS_MAX)
		n = HEADERS_MAX;
	if (hook_data(ctx) + n <= hook_end(ctx))
		return 0;
	return !bpf_skb_pull_data(ctx, n);
}

/* hook_pull_all makes the first n bytes linear. */
static __always_inline int hook_pull_all(hook_t *ctx, __u32 n)
{
	return bpf_skb_pull_data(ctx, n);
}

static __always_inline int hook_load(hook_t *ctx, __u32 offset, void *to, __u32 n)
{
	return bpf_skb_load_bytes(ctx, offset, to, n);
}

static __always_inline int hook_store(hook_t *ctx, __u32 offset, const void *from, __u32 n)
{
	return bpf_skb_store_bytes(ctx, offset, from, n, 0);
}

/* hook_inner writes the Ethernet header of what was decapsulated: adjust_room keeps the outer one. */
static __always_inline int hook_inner(hook_t *ctx, const struct eth *eth)
{
	return bpf_skb_store_bytes(ctx, 0, eth, sizeof(*eth), 0);
}

/* hook_patch changes bytes after the Ethernet header that a checksum of the NIC may cover. */
static __always_inline int hook_patch(hook_t *ctx, __u32 offset, const void *from, __u32 n)
{
	return bpf_skb_store_bytes(ctx, offset, from, n, BPF_F_RECOMPUTE_CSUM);
}

static __always_inline int hook_resize(hook_t *ctx, __u32 len)
{
	return bpf_skb_change_tail(ctx, len, 0);
}

/* hook_grow makes room for n bytes behind the Ethernet header. */
static __always_inline int hook_grow(hook_t *ctx, __u32 n)
{
	return bpf_skb_adjust_room(ctx, n, BPF_ADJ_ROOM_MAC, 0);
}

/* hook_encap makes room for outer headers. The L2 length of a tunnel is that of the inner Ethernet
 * header alone: with VXLAN's 8 bytes counted too, all but segmented TCP works. Frames that are not
 * IP cannot be adjusted by it, and never are segments.
 */
static __always_inline int hook_encap(hook_t *ctx, __u32 n, int ip, int v6)
{
	__u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_ENCAP_L4_UDP |
		      BPF_F_ADJ_ROOM_ENCAP_L2_ETH | BPF_F_ADJ_ROOM_ENCAP_L2(sizeof(struct eth)) |
		      BPF_F_ADJ_ROOM_NO_CSUM_RESET;

	flags |= v6 ? BPF_F_ADJ_ROOM_ENCAP_L3_IPV6 : BPF_F_ADJ_ROOM_ENCAP_L3_IPV4;
	if (ip)
		return bpf_skb_adjust_room(ctx, n, BPF_ADJ_ROOM_MAC, flags);
	return bpf_skb_change_head(ctx, n, 0);
}

/* hook_decap takes n bytes of outer headers away; what is left has an Ethernet header to be written
 * anew. FIXED_GSO: the segments keep their size. Before 6.3 the kernel cannot be told that the
 * protocol changes (l3): then it returns 1, and short packets must for a moment be as long as the
 * kernel thinks that they are.
 */
static __always_inline int hook_decap(hook_t *ctx, __u32 n, __u64 l3)
{
	__u32 len = ctx->len, least = n + sizeof(struct eth) + sizeof(struct ipv6);
	__u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO;

	if (l3 && !bpf_skb_adjust_room(ctx, -(__s32)n, BPF_ADJ_ROOM_MAC, flags | l3))
		return 0;
	if (l3 && len < least && bpf_skb_change_tail(ctx, least, 0))
		return -1;
	if (bpf_skb_adjust_room(ctx, -(__s32)n, BPF_ADJ_ROOM_MAC, flags))
		return -1;
	if (l3 && len < least)
		bpf_skb_change_tail(ctx, len - n, 0);
	return l3 != 0;
}

/* hook_local hands a frame to the other end of a pair. Straight into its namespace, unless the
 * kernel must look at the Ethernet header again to know its protocol.
 */
static __always_inline int hook_local(hook_t *ctx, __u32 ifindex, int relearn)
{
	if (relearn)
		return bpf_redirect(ifindex, 0);
	bpf_skb_change_type(ctx, 0 /* PACKET_HOST, by itself since 6.15 */);
	return bpf_redirect_peer(ifindex, 0);
}

static __always_inline int hook_remote(hook_t *ctx, __u32 ifindex, int stale)
{
	if (stale)
		return bpf_redirect_neigh(ifindex, NULL, 0, 0);
	return bpf_redirect(ifindex, 0);
}

static __always_inline int hook_address(hook_t *ctx, struct bpf_tunnel_key *to, int v6)
{
	__u64 flags = v6 ? BPF_F_TUNINFO_IPV6 : BPF_F_ZERO_CSUM_TX;

	return bpf_skb_set_tunnel_key(ctx, to, sizeof(*to), flags | BPF_F_DONT_FRAGMENT);
}

static __always_inline int hook_redirected(int ret)
{
	return ret == TC_ACT_REDIRECT;
}

static __always_inline int hook_reply(hook_t *ctx, __u32 ifindex)
{
	bpf_skb_change_type(ctx, 0);
	return bpf_redirect_peer(ifindex, 0);
}

static __always_inline int hook_clone(hook_t *ctx, __u32 ifindex)
{
	return bpf_clone_redirect(ctx, ifindex, 0);
}

static __always_inline __u32 hook_hash(hook_t *ctx)
{
	return bpf_get_hash_recalc(ctx);
}

static __always_inline int hook_verdict(__u32 action, int ret)
{
	switch (action) {
	case ACT_PASS:
		return TC_ACT_OK;
	case ACT_REDIRECT:
	case ACT_REPLY:
		return ret;
	}
	return TC_ACT_SHOT;
}

#endif
