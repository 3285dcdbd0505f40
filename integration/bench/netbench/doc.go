// SPDX-License-Identifier: Apache-2.0

// Package netbench measures ways between two containers: the kernel's, and
// Foundry's on one host and on two.
//
//	make bench-net                   all of it, into docs/bench/network.md and network.svg
//	scripts/bench-net.sh -quick      the same in a minute, to see that it works
//
// All ways are built once, in network namespaces of the bench's own, and take
// turns: in each round every measure is taken of each way, in an order that
// moves on with the rounds. What is compared is one way with another in the
// same round, and of these ratios the median is reported. The traffic is made
// by the same program for all (load).
//
// The rest is measured by itself: what the programs cost per frame (live
// frames, against XDP_DROP), what a large FDB costs, what it takes to attach a
// container, against the CNI plugins.
//
// Results are what a run wrote; the command report makes a document and a plot
// of them.
package netbench
