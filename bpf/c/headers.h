/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Headers on the wire, and what the kernel's own headers of the pinned clang's release lack. */
#ifndef FOUNDRY_HEADERS_H
#define FOUNDRY_HEADERS_H

#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* libbpf's is no constant expression. */
#undef offsetof
#define offsetof(type, member) __builtin_offsetof(type, member)

#define ETHERTYPE_IPV4	bpf_htons(0x0800)
#define ETHERTYPE_ARP	bpf_htons(0x0806)
#define ETHERTYPE_VLAN	bpf_htons(0x8100)
#define ETHERTYPE_IPV6	bpf_htons(0x86dd)
#define ETHERTYPE_QINQ	bpf_htons(0x88a8)
#define ETHERTYPE_OQINQ bpf_htons(0x9100)

#define PROTO_HOPOPTS  0
#define PROTO_ICMP     1
#define PROTO_TCP      6
#define PROTO_UDP      17
#define PROTO_ROUTING  43
#define PROTO_FRAGMENT 44
#define PROTO_AH       51
#define PROTO_ICMPV6   58
#define PROTO_DSTOPTS  60
#define PROTO_SCTP     132
#define PROTO_MOBILITY 135

#define ECN_MASK    3
#define ECN_NOT_ECT 0
#define ECN_ECT1    1
#define ECN_ECT0    2
#define ECN_CE	    3

#define VXLAN_FLAGS bpf_htonl(0x08000000) /* I: the VNI is valid */
#define VTEP_TTL    64

/* linux/bpf.h of 6.3 and later */
#define ADJ_ROOM_DECAP_L3_IPV4 (1ULL << 7)
#define ADJ_ROOM_DECAP_L3_IPV6 (1ULL << 8)

#define TC_ACT_OK	0
#define TC_ACT_SHOT	2
#define TC_ACT_REDIRECT 7

/* None is packed: clang would read those byte by byte. Where the wire does not align a field, it is
 * cut into pieces.
 */
struct eth {
	__u8 dst[6];
	__u8 src[6];
	__be16 type;
};

struct ipv4 {
	__u8 version_ihl;
	__u8 tos;
	__be16 len;
	__be16 id;
	__be16 frag;
	__u8 ttl;
	__u8 proto;
	__be16 check;
	__be32 src;
	__be32 dst;
};

#define IPV4_DF	    bpf_htons(0x4000)
#define IPV4_MF	    bpf_htons(0x2000)
#define IPV4_OFFSET bpf_htons(0x1fff)

struct ipv6 {
	__be32 flow; /* version, traffic class, flow label */
	__be16 len;
	__u8 next;
	__u8 hops;
	__be32 src[4];
	__be32 dst[4];
};

struct ipv6_ext {
	__u8 next;
	__u8 len;    /* beyond the first 8 bytes: in 8 bytes, AH in 4 bytes */
	__be16 frag; /* fragment header: offset and flags */
};

struct ports {
	__be16 src;
	__be16 dst;
};

struct udp {
	__be16 src;
	__be16 dst;
	__be16 len;
	__be16 check;
};

struct tcp {
	struct ports ports;
	__be32 seq;
	__be32 ack;
	__u8 offset; /* high four bits: header length in words */
	__u8 flags;
	__be16 window;
	__be16 check;
	__be16 urgent;
};

struct icmp {
	__u8 type;
	__u8 code;
	__be16 check;
	__be32 rest;
};

struct vxlan {
	__be32 flags;
	__be32 vni; /* upper 24 bits */
};

struct arp {
	__be16 htype;
	__be16 ptype;
	__u8 hlen;
	__u8 plen;
	__be16 op;
	__u8 sha[6];
	__be16 spa[2];
	__u8 tha[6];
	__be16 tpa[2];
};

#define ARP_REQUEST bpf_htons(1)
#define ARP_REPLY   bpf_htons(2)

static __always_inline __be32 arp_ip(const __be16 half[2])
{
	__be32 ip;

	__builtin_memcpy(&ip, half, sizeof(ip));
	return ip;
}

#define ICMP_UNREACHABLE  3
#define ICMP_FRAG_NEEDED  4
#define ICMP_ECHO	  8
#define ICMP_ECHO_REPLY	  0
#define ICMPV6_TOO_BIG	  2
#define ICMPV6_MLD_DONE	  132
#define ICMPV6_MLD_REPORT 131
#define ICMPV6_RS	  133
#define ICMPV6_RA	  134
#define ICMPV6_NS	  135
#define ICMPV6_NA	  136
#define ICMPV6_REDIRECT	  137
#define ICMPV6_MLD2	  143

struct nd {
	__u8 type;
	__u8 code;
	__be16 check;
	__u8 flags; /* NA: R, S, O */
	__u8 reserved[3];
	__be32 target[4];
};

#define NA_ROUTER    0x80
#define NA_SOLICITED 0x40
#define NA_OVERRIDE  0x20

struct nd_lladdr {
	__u8 type; /* 1: source, 2: target */
	__u8 len;  /* in 8 bytes */
	__u8 mac[6];
};

#define ND_SLLA 1
#define ND_TLLA 2

#endif
