/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Every way out of a program: what was done with the frame, and why. */
#ifndef FOUNDRY_REASONS_H
#define FOUNDRY_REASONS_H

enum action {
	ACT_NEXT,     /* not decided yet: the next stage looks at it */
	ACT_PASS,     /* to the kernel's own stack, untouched */
	ACT_DROP,     /* gone */
	ACT_REDIRECT, /* to one device */
	ACT_REPLY,    /* rewritten into an answer to its sender */
	ACT_FLOOD,    /* copied to several devices, the original is gone */
	ACT_COUNT,
};

/* Appended to, never renumbered: counters and events outlive programs. Names are what operators
 * see, in lower case and without the prefix.
 */
enum reason {
	REASON_NONE,
	/* sent on */
	REASON_LOCAL,
	REASON_REMOTE,
	REASON_FLOODED,
	REASON_DECAPSULATED,
	REASON_GATEWAY,	 /* for the host's stack, by the gateway's MAC */
	REASON_DEFERRED, /* XDP leaves it to the tc program of the same device */
	REASON_NOT_OURS, /* uplink: no VXLAN for this VTEP */
	/* answered */
	REASON_ARP_REPLY,
	REASON_ND_REPLY,
	REASON_PMTU_IPV4,
	REASON_PMTU_IPV6,
	/* malformed */
	REASON_RUNT,
	REASON_ETHERTYPE,
	REASON_VLAN,
	REASON_IPV4_HEADER,
	REASON_IPV6_HEADER,
	REASON_IPV6_CHAIN, /* more extension headers than we walk */
	REASON_L4_HEADER,
	REASON_ARP_MALFORMED,
	REASON_ND_MALFORMED,
	REASON_ND_FRAGMENT, /* RFC 6980 */
	/* not what this endpoint may send */
	REASON_NO_ENDPOINT,
	REASON_SPOOF_MAC,
	REASON_SPOOF_IPV4,
	REASON_SPOOF_IPV6,
	REASON_SPOOF_ARP,
	REASON_SPOOF_ND,
	REASON_ROGUE_DHCP,
	REASON_ROGUE_RA,
	/* nowhere to go */
	REASON_SELF,
	REASON_FDB_MISS,
	REASON_BLACKHOLE,
	REASON_ARP_UNKNOWN,
	REASON_ND_UNKNOWN,
	REASON_OWN_PROBE,    /* asks for its own address: nobody else has it, which is the answer */
	REASON_ANNOUNCEMENT, /* gratuitous: neighbours are in the map already */
	REASON_BUM_OFF,
	REASON_BUM_RATE,
	REASON_BUM_EMPTY,
	REASON_BUM_FAMILY, /* a list mixes VTEPs over IPv4 and IPv6, or back ends */
	/* underlay */
	REASON_OUTER_FRAGMENT,
	REASON_OUTER_HEADER,
	REASON_VXLAN_SHORT,
	REASON_VXLAN_FLAG,
	REASON_VNI_UNKNOWN,
	REASON_VTEP_UNKNOWN,
	REASON_VTEP_DOWN,
	REASON_NOT_LOCAL, /* decapsulated, but for another VTEP: never sent back out */
	REASON_ECN,	  /* congestion experienced, on a packet that cannot carry it */
	REASON_TOO_BIG,
	/* the kernel said no */
	REASON_ROOM,
	REASON_NO_DEVICE,
	REASON_SEGMENTS, /* decapsulated it would be one frame that nobody can cut up again */
	/* later additions */
	REASON_NO_TUNNEL,   /* came in by the kernel's VXLAN device, but not out of a tunnel */
	REASON_ND_CHECKSUM, /* a solicitation or advertisement that was damaged */
	REASON_COUNT,
};

/* A verdict is an action, a reason and the line that chose them. */
#define VERDICT(action, reason) ((__u32)(action) | (__u32)(reason) << 8 | (__u32)__LINE__ << 16)
#define NEXT			0u
#define pass(reason)		VERDICT(ACT_PASS, REASON_##reason)
#define drop(reason)		VERDICT(ACT_DROP, REASON_##reason)

static __always_inline __u32 verdict_action(__u32 v)
{
	return v & 0xff;
}

static __always_inline __u32 verdict_reason(__u32 v)
{
	return v >> 8 & 0xff;
}

static __always_inline __u32 verdict_line(__u32 v)
{
	return v >> 16;
}

#endif
