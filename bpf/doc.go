// SPDX-License-Identifier: Apache-2.0

// Package bpf holds the programs of the data plane, compiled, and their maps.
//
// The C in c/ is compiled twice from one tree: tc.bpf.c for tcx (and clsact,
// where tcx is missing) and xdp.bpf.c for XDP with fragments. Both go through
// the same stages: parse (a cursor that checks every bound), decide (endpoint
// by ifindex, source checks, ARP and ND, FDB) and act (redirect, encapsulate,
// decapsulate, answer, flood); and leave by one function that counts what was
// done, why, and for whom. What differs between the hooks is in hook_tc.h and
// hook_xdp.h. XDP leaves to the tc program of the same device what only an
// skb can do, with the reason "deferred".
//
// Package datapath loads the programs, pins and fills the maps, and attaches
// them. Maps and links outlive it, and the process: nothing here is asked
// while a frame is forwarded.
//
//	tc, err := bpf.LoadTC()       // *ebpf.CollectionSpec
//	coll, err := ebpf.NewCollection(tc)
//	...
//	coll.Maps["ep_by_ifindex"].Put(ifindex, &bpf.Endpoint{ID: 7, Vni: 100, Mac: mac})
//
// The objects in the tree are made by `go generate` with the clang of Debian
// 12 (docs/decisions/0013-bpf-toolchain.md).
package bpf
