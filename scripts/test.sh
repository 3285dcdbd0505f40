#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# test.sh [STAGE...]: run the stages in order, all of them by default, each to its end whatever the others did.
# The last line is the sum of all: N passed, N failed, N skipped. Exit status 0 means none failed.
set -u
cd "$(dirname "$0")/.."
export FOUNDRY_CACHE=${FOUNDRY_CACHE:-$HOME/.cache/foundry}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
counts=$scratch/counts
: >"$counts"

header() { printf '\n==== %s ====\n' "$*"; }

# gotest ARGS...: a stage of go tests, counted test by test
gotest() {
	go test -json -count=1 "$@" | "$scratch/tally" -counts "$counts" -skips integration/skips.txt
}

# whole NAME COMMAND...: a stage that counts as one
whole() {
	local name=$1 code
	shift
	"$@"
	code=$?
	"$scratch/tally" -counts "$counts" -stage "$name" -code $code
	return $code
}

lint() { whole lint scripts/lint.sh; }
generate() { whole verify-generate scripts/verify-generate.sh; }
build() { whole build make --no-print-directory build; }

unit() { gotest -race -timeout 10m $(go list ./... | grep -vE '^foundry/integration(/cri|/matrix|/net)?$'); }

root() { gotest -timeout 20m ./integration; }

matrix() { gotest -timeout 10m ./integration/matrix; }

# SHORT=1 carries less and goes round less often.
net() { gotest ${SHORT:+-short} -timeout 20m ./integration/net; }

cri() { gotest -timeout 10m ./integration/cri; }

suite() {
	whole suite-client go run ./integration/clientsuite -bin "$PWD/bin:$FOUNDRY_CACHE/tools/containerd-2.4.2" \
		-cache "$FOUNDRY_CACHE/clientsuite" -expect "$PWD/integration/clientsuite/expect/io.containerd.foundry.v1.txt" \
		-log "$PWD/bin/clientsuite.log"
}

guest() { scripts/guest.sh "$scratch/tally" "$counts"; }

bench() { whole bench scripts/bench.sh -quick; }
benchnet() { whole bench-net scripts/bench-net.sh -quick; }

stages=("$@")
[ ${#stages[@]} -gt 0 ] || stages=(lint generate build unit root matrix net cri suite guest bench benchnet)
scripts/setup.sh || exit 1
go build -o "$scratch/tally" ./integration/tally || exit 1
for stage in "${stages[@]}"; do
	case $stage in root | matrix | net | cri | suite | guest | bench | benchnet)
		[ "$(id -u)" = 0 ] || { echo "test: stage $stage needs root" >&2; exit 1; }
		[ -x bin/foundryd ] || make --no-print-directory build || exit 1
		;;
	esac
	header "$stage"
	begin=$SECONDS
	"$stage" && echo "-- $stage: ok, $((SECONDS - begin)) s" || echo "-- $stage: FAILED, $((SECONDS - begin)) s"
done
header sum
"$scratch/tally" -counts "$counts" -sum
