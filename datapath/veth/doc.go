// SPDX-License-Identifier: Apache-2.0

// Package veth makes, finds and removes the network devices of the data
// plane: pairs between the host and a container's network namespace, the
// kernel's VXLAN device for hosts that need it, the qdisc for kernels without
// tcx; and says what the host's own devices, routes and neighbours are.
//
// Package datapath calls it before it attaches programs and after it has
// detached them. Devices belong to the kernel and outlive the process: what
// Create made is found again by Find and compared by Check. What a failed
// call had made is gone when it returns.
//
//	ns, err := veth.OpenNS("/run/netns/web")
//	defer ns.Close()
//	pair, err := veth.Create(veth.Config{Name: "fe-1", NS: ns, MAC: mac, MTU: 1450, Addrs: addrs})
//
// It is the one package that moves a thread to another namespace (NS.Do), and
// that speaks netlink and ethtool. Functions without an NS mean the namespace
// of their caller.
package veth
