// SPDX-License-Identifier: Apache-2.0

// Package net tells stories about frames: hosts with a data plane each,
// containers on them, a wire between them, and what must arrive, unchanged,
// where it was sent, and nowhere else.
//
// A host is a network namespace with an uplink; a container is a network
// namespace with an eth0. Both live as long as the test, and only in this
// process: nothing of it is to be seen on the machine. Traffic is made and
// looked at by sockets that are opened in the namespaces; there are no other
// programs but ip.
//
//	f := newFabric(t, 2, overIPv4)          // two hosts and a wire
//	a := f.hosts[0].container(place{vni: 100, n: 1})
//	b := f.hosts[1].container(place{vni: 100, n: 2})
//	a.pings(b, 0, a.mtu+1)
//	a.streams(b, 1<<30)
//	f.drops("own_probe")
//
// What is tested is what users use: package datapath. Everything needs root,
// and runs in namespaces that main_test.go makes.
package net
