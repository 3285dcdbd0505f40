#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# bench-net.sh [-quick]: ways between two containers, the kernel's and Foundry's in turn, in namespaces of its own. The figures go to
# bin/bench-net.json, and of a full run into docs/bench/network.md and network.svg. It fails for what must never be (netbench.Broken).
set -eu
cd "$(dirname "$0")/.."
export FOUNDRY_BENCH=full FOUNDRY_BENCH_JSON=$PWD/bin/bench-net.json
[ "${1-}" != -quick ] || FOUNDRY_BENCH=quick
mkdir -p bin
rm -f "$FOUNDRY_BENCH_JSON"
code=0
go test ./integration/bench/netbench -run '^$' -bench Network -benchtime 1x -timeout 30m || code=$?
if [ $FOUNDRY_BENCH = full ] && [ -e "$FOUNDRY_BENCH_JSON" ]; then
	go run ./integration/bench/netbench/report "$FOUNDRY_BENCH_JSON" docs/bench/network.md docs/bench/network.svg
fi
exit $code
