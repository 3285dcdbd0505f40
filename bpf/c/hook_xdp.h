/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The hook of XDP with fragments: what struct xdp_md can do. hook_tc.h has the same functions. What
 * only an skb can do is left to the tc program of the same device.
 */
#ifndef FOUNDRY_HOOK_H
#define FOUNDRY_HOOK_H

#include "maps.h"

typedef struct xdp_md hook_t;

#define HOOK_DEFERS 1 /* to tc: broadcasts, receivers that take no XDP frames */

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
	return bpf_xdp_get_buff_len(ctx);
}

static __always_inline __u32 hook_ifindex(hook_t *ctx)
{
	return ctx->ingress_ifindex;
}

static __always_inline __u32 hook_gso(hook_t *ctx)
{
	return 0;
}

/* A tag that hardware took off is lost to XDP: such a frame is one of the VLAN's device, for which
 * the kernel gives us no program.
 */
static __always_inline int hook_tagged(hook_t *ctx)
{
	return 0;
}

static __always_inline int hook_pull(hook_t *ctx, __u32 n)
{
	return 0;
}

static __always_inline int hook_pull_all(hook_t *ctx, __u32 n)
{
	return 0;
}

static __always_inline int hook_load(hook_t *ctx, __u32 offset, void *to, __u32 n)
{
	return bpf_xdp_load_bytes(ctx, offset, to, n);
}

static __always_inline int hook_store(hook_t *ctx, __u32 offset, const void *from, __u32 n)
{
	return bpf_xdp_store_bytes(ctx, offset, (void *)from, n);
}

/* The head is where the inner frame begins. */
static __always_inline int hook_inner(hook_t *ctx, const struct eth *eth)
{
	return 0;
}

static __always_inline int hook_patch(hook_t *ctx, __u32 offset, const void *from, __u32 n)
{
	return bpf_xdp_store_bytes(ctx, offset, (void *)from, n);
}

static __always_inline int hook_resize(hook_t *ctx, __u32 len)
{
	return bpf_xdp_adjust_tail(ctx, (int)len - (int)bpf_xdp_get_buff_len(ctx));
}

static __always_inline int hook_grow(hook_t *ctx, __u32 n)
{
	return bpf_xdp_adjust_head(ctx, -(int)n);
}

static __always_inline int hook_encap(hook_t *ctx, __u32 n, int ip, int v6)
{
	return bpf_xdp_adjust_head(ctx, -(int)n);
}

static __always_inline int hook_decap(hook_t *ctx, __u32 n, __u64 l3)
{
	return bpf_xdp_adjust_head(ctx, n);
}

/* A miss in the map returns XDP_DROP, which is counted as such. */
static __always_inline int hook_local(hook_t *ctx, __u32 ifindex, int relearn)
{
	return bpf_redirect_map(&devs, ifindex, XDP_DROP);
}

static __always_inline int hook_remote(hook_t *ctx, __u32 ifindex, int stale)
{
	return bpf_redirect_map(&devs, ifindex, XDP_DROP);
}

static __always_inline int hook_address(hook_t *ctx, struct bpf_tunnel_key *to, int v6)
{
	return -1;
}

static __always_inline int hook_redirected(int ret)
{
	return ret == XDP_REDIRECT;
}

/* Not by XDP_TX: a veth wakes its peer for that only when the peer has a program too, and not when
 * it has NAPI by GRO (veth_xdp_flush); the answer would wait for the next frame.
 */
static __always_inline int hook_reply(hook_t *ctx, __u32 ifindex)
{
	return bpf_redirect_map(&devs, ifindex, XDP_TX);
}

static __always_inline int hook_clone(hook_t *ctx, __u32 ifindex)
{
	return -1;
}

/* The hash of a receive queue is not to be had here before 6.3: encap.h makes one. */
static __always_inline __u32 hook_hash(hook_t *ctx)
{
	return 0;
}

static __always_inline int hook_verdict(__u32 action, int ret)
{
	switch (action) {
	case ACT_PASS:
		return XDP_PASS;
	case ACT_REDIRECT:
	case ACT_REPLY:
		return ret;
	}
	return XDP_DROP;
}

#endif
