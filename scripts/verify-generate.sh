#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Generate into a copy of the committed tree and compare: the working tree is not touched.
set -eu
cd "$(dirname "$0")/.."
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
git archive HEAD | tar -x -C "$copy"
cp -a "$copy" "$copy.before"
trap 'rm -rf "$copy" "$copy.before"' EXIT
# What is made must not be there, or make finds it newer than its sources.
rm -r "$copy"/runtime/spawn/spawner_linux_amd64 "$copy"/runtime/seccomp/ztables.go "$copy"/dist/man "$copy"/bpf/*_bpfel.* "$copy"/datapath/agent/api/*.pb.go
(cd "$copy" && MAKEFLAGS=-s make generate)
diff -r -q "$copy.before" "$copy" || { echo "verify-generate: run make generate and commit the result" >&2; exit 1; }
