/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The Internet checksum (RFC 1071). */
#ifndef FOUNDRY_CSUM_H
#define FOUNDRY_CSUM_H

#include "packet.h"

static __always_inline __be16 csum_fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

/* csum_words folds a sum of words without turning it round. */
static __always_inline __u16 csum_words(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	return ~csum_fold(sum);
}

/* csum of n bytes, a multiple of 4 and at most 512. */
static __always_inline __u32 csum_add(const void *from, __u32 n, __u32 sum)
{
	return bpf_csum_diff(NULL, 0, (void *)from, n, sum);
}

/* csum_update: one word of what was summed up has changed (RFC 1624). */
static __always_inline __be16 csum_update(__be16 check, __be16 from, __be16 to)
{
	return csum_fold((__u32)(__u16)~check + (__u16)~from + to);
}

static __always_inline __be16 csum_ipv4(const struct ipv4 *ip)
{
	return csum_fold(csum_add(ip, sizeof(*ip), 0));
}

/* csum_icmpv6: from the source address, which the message must follow, n bytes of both. */
static __always_inline __be16 csum_icmpv6(const void *from, __u32 n, __u32 len)
{
	return csum_fold(csum_add(from, n, bpf_htonl(len) + bpf_htonl(PROTO_ICMPV6)));
}

#endif
