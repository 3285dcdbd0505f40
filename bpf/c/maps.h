/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The maps that all programs share. Layouts are the ABI between programs and the Go side, which
 * takes its types from here; ABI below is raised with each change of one.
 */
#ifndef FOUNDRY_MAPS_H
#define FOUNDRY_MAPS_H

#include "headers.h"
#include "reasons.h"

#define ABI 1

/* An IPv6 address, or an IPv4 address in the first word and zeros. */
struct addr {
	__be32 w[4];
};

struct mac {
	__u8 b[6];
};

enum endpoint_flag {
	EP_XDP = 1,	 /* its container's device takes XDP frames */
	EP_NO_SPOOF = 2, /* may send from any address */
};

/* Whose port a device is. All that a program believes about a sender comes from here. */
struct endpoint {
	__u32 id;
	__u32 vni;
	__u32 vrf;
	enum endpoint_flag flags;
	struct mac mac;
	__u16 mtu;
	__be32 ip4;
	struct addr ip6;
	__u32 policy;
	__u32 gen;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u32); /* ifindex */
	__type(value, struct endpoint);
	__uint(max_entries, 4096);
} ep_by_ifindex SEC(".maps");

struct fdb_key {
	__u32 vni;
	struct mac mac;
	__u16 pad;
};

enum fdb_type {
	FDB_BLACKHOLE,
	FDB_LOCAL,
	FDB_REMOTE,
	FDB_GATEWAY,
};

enum fdb_flag {
	FDB_XDP = 1, /* LOCAL: may be reached with an XDP frame */
};

struct fdb_entry {
	enum fdb_type type;
	enum fdb_flag flags;
	__u32 target;	/* LOCAL: ifindex of the host's end of the pair; REMOTE: VTEP id */
	__u32 endpoint; /* LOCAL: whom the counters name */
	__u32 gen;
	__u16 mtu; /* LOCAL: largest L3 packet, 0 for any */
	__u16 pad;
	__u64 last_seen;
};

/* The control plane owns it: never evicts, and a full map fails the writer. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct fdb_key);
	__type(value, struct fdb_entry);
	__uint(max_entries, 65536);
} fdb SEC(".maps");

struct neigh_key {
	__u32 vni;
	__u32 family; /* 4 or 6 */
	struct addr ip;
};

enum neigh_flag {
	NEIGH_ROUTER = 1,
};

struct neigh_entry {
	struct mac mac;
	__u16 pad;
	enum neigh_flag flags;
	__u32 gen;
};

/* Who has an address: answers ARP and ND, and lets endpoints have more than one. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct neigh_key);
	__type(value, struct neigh_entry);
	__uint(max_entries, 131072);
} neigh SEC(".maps");

enum vtep_state {
	VTEP_UP,
	VTEP_DOWN,
	VTEP_STALE, /* the MACs of outer are old: let the kernel's neighbour table fill them in */
};

/* A remote VTEP with its outer headers made ahead of the first packet: Ethernet, IP, UDP and
 * VXLAN, with lengths, checksum, source port, ECN and VNI left zero.
 */
struct vtep_entry {
	__u8 outer
		[72]; /* from byte 2, so that the IP header is aligned: 50 over IPv4, 70 over IPv6 */
	struct addr ip;
	__u32 ifindex; /* where it is sent out */
	__u16 mtu;     /* largest inner L3 packet, 0 for any */
	__u16 family;  /* 4 or 6 */
	enum vtep_state state;
	__u32 tunnel; /* the kernel's VXLAN device that writes outer headers; 0: we do */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u32); /* VTEP id */
	__type(value, struct vtep_entry);
	__uint(max_entries, 4096);
} vtep SEC(".maps");

struct vtep_key {
	__u32 family;
	struct addr ip;
};

/* Whom we take VXLAN from. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct vtep_key);
	__type(value, __u32); /* VTEP id */
	__uint(max_entries, 4096);
} vtep_by_ip SEC(".maps");

enum vni_flag {
	VNI_BUM = 1, /* broadcast, unknown neighbours and multicast are replicated */
};

struct vni_entry {
	__u32 vrf;
	enum vni_flag flags;
	__u64 bum_interval; /* ns between broadcasts of one sender, in the long run */
	__u32 bum_burst;    /* how many may come at once */
	__u16 mtu;
	struct mac gateway;
	__u32 gen;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u32); /* VNI */
	__type(value, struct vni_entry);
	__uint(max_entries, 4096);
} vni SEC(".maps");

/* One receiver of broadcasts: a local device, or else a VTEP. */
struct receiver {
	__u32 ifindex;
	__u32 endpoint;
	__u32 vtep;
};

#define RECEIVERS_MAX 4096

/* The receivers of one VNI. Types would get lost within bum, sizes do not. */
struct receivers {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_INNER_MAP);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct receiver));
	__uint(max_entries, 1); /* as many as there are */
};

/* A list is replaced as a whole, so that no broadcast sees half of one. It ends with a receiver
 * of zeros, or where the inner map does.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__type(key, __u32); /* VNI */
	__uint(max_entries, 4096);
	__array(values, struct receivers);
} bum SEC(".maps");

/* Token buckets: when the next broadcast is due, in ns (GCRA). Key: endpoint id, or VNI | 1<<31
 * for what comes from the uplink.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 8192);
} rate SEC(".maps");

/* Where XDP may send frames. Written in the network namespace of the devices: the kernel looks the
 * index up in the writer's.
 */
struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP_HASH);
	__type(key, __u32); /* ifindex */
	__type(value, struct bpf_devmap_val);
	__uint(max_entries, 4096);
} devs SEC(".maps");

enum cfg_flag {
	CFG_XDP_XMIT = 1, /* the uplink sends XDP frames */
};

struct config {
	__u32 abi;
	enum cfg_flag flags;
	struct addr vtep4; /* ours */
	struct addr vtep6;
	__be16 port;
	__u16 pad;
	__u32 events; /* drops reported per reason, CPU and second */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct config);
	__uint(max_entries, 1);
} cfg SEC(".maps");

#endif
