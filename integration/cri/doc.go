// SPDX-License-Identifier: Apache-2.0

// Package cri holds stories that a kubelet would live: pods and containers
// through the CRI plugin of a private containerd, with a handler for Foundry
// and, where behaviour is compared, one for runc.
//
// The whole test program runs in a mount and a network namespace of its own:
// the bridge, the port mappings and the network namespaces of the pods are
// there, and nothing of it is left when the program ends. The plugins are those
// of Debian's containernetworking-plugins, the images are made on the spot.
package cri
