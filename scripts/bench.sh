#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# bench.sh [-quick | -memory]: the benchmarks, each runtime in turn on one private containerd; -memory is what idle containers hold, alone. The
# figures also go to bin/bench.json, and from there by `go run ./integration/bench/report bin/bench.json docs/bench/containers.md` into
# the document.
set -eu
cd "$(dirname "$0")/.."
export FOUNDRY_BENCH=full FOUNDRY_BENCH_JSON=$PWD/bin/bench.json
[ $# = 0 ] || FOUNDRY_BENCH=${1#-}
mkdir -p bin
echo "the launcher: start against a live server, in times of a minimal Go program (budget 1.5)"
go test ./cmd/containerd-shim-foundry-v1 -run '^$' -bench Start -benchtime 300x | grep Benchmark
go test ./integration/bench -run '^$' -bench Containers -benchtime 1x -timeout 60m
