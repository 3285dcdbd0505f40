/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What was counted and reported on the way out. */
#ifndef FOUNDRY_COUNTERS_H
#define FOUNDRY_COUNTERS_H

#include "maps.h"

struct count {
	__u64 packets;
	__u64 bytes;
};

#define REASON_SLOTS 64

_Static_assert(REASON_COUNT <= REASON_SLOTS, "stats_total has no room for a reason");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32); /* action * REASON_SLOTS + reason */
	__type(value, struct count);
	__uint(max_entries, ACT_COUNT *REASON_SLOTS);
} stats_total SEC(".maps");

enum direction {
	DIR_FROM, /* the endpoint sent it */
	DIR_TO,	  /* it was sent to the endpoint */
};

struct stats_key {
	__u32 endpoint; /* 0: none, the uplink */
	enum reason reason;
	enum action action;
	enum direction direction;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct stats_key);
	__type(value, struct count);
	__uint(max_entries, 65536);
} stats_ep SEC(".maps");

/* Nearly all frames are counted for their endpoints under one of three reasons, in two directions.
 * Those are found by a number instead of a hash, as long as no two endpoints share it: the second
 * one's are in stats_ep.
 */
#define PORT_SLOTS   2048 /* a power of two */
#define PORT_REASONS 3

struct port_count {
	__u32 owner; /* endpoint + 1; 0: nobody yet, on this CPU */
	__u32 pad;
	struct count counts[2 * PORT_REASONS]; /* direction * PORT_REASONS + port_reason() */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32); /* endpoint % PORT_SLOTS */
	__type(value, struct port_count);
	__uint(max_entries, PORT_SLOTS);
} stats_port SEC(".maps");

#define EVENT_BYTES 128 /* a power of two */

/* A drop, with the first bytes of the frame as it was when it was dropped. */
struct event {
	__u64 time; /* monotonic, ns */
	enum reason reason;
	__u32 line;
	__u32 ifindex;
	__u32 endpoint;
	__u32 vni;
	__u32 len;	  /* of the frame as it came */
	__u32 captured;	  /* of data */
	__u32 suppressed; /* like this one, unreported before it, on this CPU */
	__u32 hash;	  /* of its flow */
	__u8 data[EVENT_BYTES];
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} events SEC(".maps");

/* How many drops of a reason were reported in this second. */
struct sample {
	__u64 since;
	__u32 reported;
	__u32 suppressed;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32); /* reason */
	__type(value, struct sample);
	__uint(max_entries, REASON_SLOTS);
} samples SEC(".maps");

static __always_inline void count_total(__u32 action, __u32 reason, __u32 bytes)
{
	__u32 slot = action * REASON_SLOTS + reason;
	struct count *c = bpf_map_lookup_elem(&stats_total, &slot);

	if (!c)
		return;
	c->packets++;
	c->bytes += bytes;
}

_Static_assert(REASON_LOCAL >> 1 == 0 && REASON_REMOTE >> 1 == 1 && REASON_DECAPSULATED >> 1 == 2,
	       "the three reasons that redirect have to be numbered by port_reason");

static __always_inline __u32 port_reason(__u32 reason)
{
	return reason >> 1;
}

/* count_port counts by number; 0 when it has to be done by hash. */
static __always_inline int count_port(const struct stats_key *key, __u32 bytes)
{
	__u32 slot = key->endpoint % PORT_SLOTS, i = port_reason(key->reason);
	struct port_count *port;

	if (key->action != ACT_REDIRECT || i >= PORT_REASONS)
		return 0;
	port = bpf_map_lookup_elem(&stats_port, &slot);
	if (!port)
		return 0;
	if (!port->owner)
		port->owner = key->endpoint + 1;
	if (port->owner != key->endpoint + 1)
		return 0;
	if (key->direction == DIR_TO)
		i += PORT_REASONS;
	port->counts[i].packets++;
	port->counts[i].bytes += bytes;
	return 1;
}

/* A full map loses the endpoint's share only: the total has been counted. */
static __noinline int count_hashed(struct stats_key *key, __u32 bytes)
{
	struct count *c = bpf_map_lookup_elem(&stats_ep, key);
	struct count first = {.packets = 1, .bytes = bytes};

	if (!c)
		return bpf_map_update_elem(&stats_ep, key, &first, BPF_NOEXIST);
	c->packets++;
	c->bytes += bytes;
	return 0;
}

static __always_inline void count_endpoint(struct stats_key *key, __u32 bytes)
{
	if (!count_port(key, bytes))
		count_hashed(key, bytes);
}

/* sampled says whether a drop is to be reported, and how many before it were not. */
static __always_inline int sampled(__u32 reason, __u64 now, __u32 limit, __u32 *suppressed)
{
	struct sample *s = bpf_map_lookup_elem(&samples, &reason);

	if (!s)
		return 0;
	if (now - s->since >= 1000000000ULL) {
		s->since = now;
		s->reported = 0;
	}
	if (s->reported >= limit) {
		s->suppressed++;
		return 0;
	}
	s->reported++;
	*suppressed = s->suppressed;
	s->suppressed = 0;
	return 1;
}

#endif
