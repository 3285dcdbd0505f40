// SPDX-License-Identifier: Apache-2.0

// Package bench measures what containers cost, from a client's side: a life
// (create, start, exit, delete) through containerd and at the shim's own task
// API, execs, many at once, and memory. It knows a runtime by its name alone, so
// all are measured alike.
//
//	make bench                 Foundry, runc v2, an empty shim and the kernel's floor, in one run
//	scripts/bench.sh -quick    the same in a minute, to see that it works
//
// floor/floor.c is the least that a life can cost on this kernel: the system
// calls and nothing else. noop is a shim that holds no container at all: what
// containerd itself costs. shimbench is for a containerd that already runs.
//
// Machines differ and this one is noisy, so the runtimes take turns in rounds,
// and what is worth quoting is a ratio within one run.
package bench
