// SPDX-License-Identifier: Apache-2.0

// Package datapath makes the maps and programs of the data plane equal to
// what is wanted: endpoints, networks, remote VTEPs and who is behind them.
//
// The caller says all of it, with Set, whenever any of it changes. The tables
// that it stands for are computed without looking at the machine (tables.go),
// compared with what is in the maps (diff.go), and only what differs is
// written (maps.go, links.go): the same State twice writes nothing, and a
// restarted process that Opens the same directory takes over what is there
// while frames go on being forwarded.
//
// Maps and links are pinned below Config.Dir and outlive the process. Close
// leaves them; Purge takes them away.
//
//	d, err := datapath.Open(datapath.Config{Dir: "/sys/fs/bpf/foundry/ID"})
//	changes, err := d.Set(datapath.State{
//		Networks:  []datapath.Network{{VNI: 100}},
//		Endpoints: []datapath.Endpoint{{Ifindex: 7, VNI: 100, MAC: mac, Addrs: addrs}},
//	})
//
// It is called in the network namespace of the host's ends of the pairs: the
// kernel looks device numbers up in the caller's.
package datapath
