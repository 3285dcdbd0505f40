#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
# Compile both objects, and the Go that embeds them. Run by go generate in bpf/.
# Another clang makes other bytes of the same source, so the release is pinned: docs/decisions/0013-bpf-toolchain.md.
set -eu
types="addr mac endpoint fdb_key fdb_entry neigh_key neigh_entry vtep_entry vtep_key vni_entry receiver config count stats_key port_count event
	action reason direction endpoint_flag fdb_type fdb_flag neigh_flag vtep_state vni_flag cfg_flag"
flags="-O2 -g -mcpu=v3 -Wall -Werror -fno-strict-aliasing -fdebug-prefix-map=$PWD=. -I/usr/include/$(uname -m)-linux-gnu"
bpf2go() {
	go run github.com/cilium/ebpf/cmd/bpf2go -cc clang-14 -strip llvm-strip-14 -target bpfel -cflags "$flags" "$@"
}
# shellcheck disable=SC2046 # words
bpf2go $(printf -- '-type %s ' $types) TC c/tc.bpf.c
bpf2go -no-global-types XDP c/xdp.bpf.c
