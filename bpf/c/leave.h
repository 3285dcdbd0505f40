/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The one way out of every program. */
#ifndef FOUNDRY_LEAVE_H
#define FOUNDRY_LEAVE_H

#include "flow.h"

static __always_inline struct config *config(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&cfg, &zero);
}

static __noinline int describe(struct event *e, struct packet *p, __u32 v)
{
	__u32 n = hook_len(p->ctx);

	e->reason = verdict_reason(v);
	e->line = verdict_line(v);
	e->ifindex = p->ifindex;
	e->endpoint = p->endpoint;
	e->vni = p->vni;
	e->len = p->len;
	e->hash = flow_hash(p);
	__builtin_memset(e->data, 0, sizeof(e->data));
	if (n > EVENT_BYTES)
		n = EVENT_BYTES;
	/* The verifier of 6.1 does not see that a frame has bytes, unless a mask says so. */
	asm volatile("" : "+r"(n));
	n = ((n - 1) & (EVENT_BYTES - 1)) + 1;
	e->captured = hook_load(p->ctx, 0, e->data, n) ? 0 : n;
	return 0;
}

/* report tells of a drop, with its first bytes, unless it was told of too many like it. */
static __noinline int report(struct packet *p, __u32 v)
{
	struct config *c = config();
	__u64 now = bpf_ktime_get_ns();
	__u32 suppressed = 0;
	struct event *e;

	if (!c || !sampled(verdict_reason(v), now, c->events, &suppressed))
		return 0;
	e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	if (!e)
		return 0;
	e->time = now;
	e->suppressed = suppressed;
	describe(e, p, v);
	bpf_ringbuf_submit(e, 0);
	return 0;
}

/* leave counts what was decided, for the sender, for the receiver (who gets no outer headers) and in
 * total, reports drops, and says it in the hook's language.
 */
static __noinline int leave(struct packet *p, __u32 v)
{
	struct stats_key key = {
		.endpoint = p->endpoint,
		.reason = verdict_reason(v),
		.action = verdict_action(v),
		.direction = DIR_FROM,
	};

	if (key.action >= ACT_COUNT || key.reason >= REASON_SLOTS)
		return hook_verdict(ACT_DROP, 0);
	count_total(key.action, key.reason, p->len);
	count_endpoint(&key, p->len);
	if (p->to) {
		key.endpoint = p->to;
		key.direction = DIR_TO;
		count_endpoint(&key, p->len - p->base);
	}
	if (key.action == ACT_DROP)
		report(p, v);
	return hook_verdict(key.action, p->ret);
}

/* arrive notes where a frame came in, before it is looked at. */
static __always_inline void arrive(struct packet *p, hook_t *ctx)
{
	p->ctx = ctx;
	p->len = hook_len(ctx);
	p->ifindex = hook_ifindex(ctx);
}

#endif
