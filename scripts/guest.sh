#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# guest.sh TALLY COUNTS: what only cgroup v2 can show, in user-mode Linux, one boot a package. test.sh calls it.
# A guest that does not boot is a failure, never a skip.
set -u
cd "$(dirname "$0")/.."
tally=$1 counts=$2
integration/vm/setup.sh || exit 1
export CGO_ENABLED=0
packages="./runtime/cgroup ./runtime/journal ./runtime"
# shellcheck disable=SC2086 # a list of words
go test -json -count=1 -p 1 -timeout 60m -exec "$PWD/integration/vm/boot-uml.sh -t 900 -w $PWD -e FOUNDRY_SLOW=1 --" $packages |
	"$tally" -counts "$counts" -skips integration/skips-guest.txt
