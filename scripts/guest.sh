#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# guest.sh TALLY COUNTS [GUEST...]: what only a host with cgroup v2 alone, an older kernel or more rights can show.
# test.sh calls it. There are three guests, each booted once: uml (user-mode Linux: quick), debian (Debian's stock
# kernel, emulated: slow, with all controllers) and systemd (the same kernel with systemd as process 1). A fourth, wire,
# is booted by a test on this host, which is at the other end of its network. One that gives no result is a failure,
# never a skip.
set -u
cd "$(dirname "$0")/.."
tally=$1 counts=$2
shift 2
[ $# -gt 0 ] || set -- uml debian systemd wire
export FOUNDRY_CACHE=${FOUNDRY_CACHE:-$HOME/.cache/foundry}
build=$PWD/bin/guest
tools=$build/cache/tools/containerd-2.4.2 # copies: the cache may be below /tmp, and a guest has its own /tmp

# tests GUEST: lines of PACKAGE ARGUMENTS. Left out is what shows nothing there that it does not show on the host.
tests() {
	case $1 in
	uml)
		cat <<-LIST
			runtime/cgroup
			runtime -test.skip=TestTooLittleMemory
			runtime/spawn -test.skip=TestLoopsAtOnce|TestCommittedBinary|TestPlansPass|Sanitizers|TestUpgradeDuringFork|TestIntermediateKilled|TestChildEnds
			integration -test.run=TestUnified|TestLife|TestProcess|TestUsers/(RemappedSnapshot|Process|Pod|Hooks)|TestSeccompNotify|TestEventsOfALife|TestReapingInit|TestDeleteHarms|TestOperator|TestMetrics
		LIST
		;;
	debian)
		cat <<-LIST
			runtime/cgroup
			runtime -test.skip=TestServerKilledAtEachStep|TestServerKilledWithUsers|TestHundredAtOnce|TestNamespacesByPath|TestHooksInsideOf|TestFailingHooksInside|TestOwnAgent|TestAgentIsShared
			runtime/spawn -test.run=TestContainerRuns|TestExecInto|TestOverlay|TestMasks|TestBindFile|TestUser|TestNull|TestTmpfs|TestFilter|TestUpgrade$
			integration -test.run=TestUnified|TestLife/(Exec|KillAll|Pause)|TestProcess/(Terminal|OOM|Hooks)|TestAppArmor|TestCheckpoint|TestMetrics
			integration/net -test.run=TestInteropKernel/in_a_VLAN$
		LIST
		;;
	systemd) # groups are scopes here, see scope_test.go of both
		cat <<-LIST
			runtime/cgroup -test.run=Scope
			runtime -test.run=TestScope|TestOOM|TestNothingIsLeft|TestExec$|TestPaused|TestCreateFails|TestServerKilledAtEachStep
		LIST
		;;
	*) echo "guest.sh: no guest $1" >&2; exit 64 ;;
	esac
}

# The tests are built here, all of them before the first boot: compiling there would take longer than everything else.
prepare() {
	local package
	integration/vm/setup.sh && integration/vm/setup-systemd.sh && make --no-print-directory build || return 1
	rm -rf "$build"
	mkdir -p "$tools"
	cp "$FOUNDRY_CACHE"/tools/containerd-2.4.2/* "$tools" || return 1
	cp bin/foundry bin/foundryd bin/foundry-delete bin/containerd-shim-foundry-v1 "$FOUNDRY_CACHE/vm/apparmor/sbin/apparmor_parser" "$build" || return 1
	for package in runtime/cgroup runtime/spawn runtime integration integration/net; do
		CGO_ENABLED=0 go test -c -o "$build/${package##*/}.test" "./$package" || return 1
	done
}

# script OUT: what a guest runs. Each package's output and exit code become files, so that one that dies takes no other along.
script() {
	cat <<-SCRIPT
		export FOUNDRY_SLOW=1 FOUNDRY_BIN=$build FOUNDRY_CACHE=$build/cache
		[ ! -d /run/systemd/system ] || export FOUNDRY_TEST_SCOPES=1
		while read -r package arguments; do
			cd $PWD/\$package
			begin=\$SECONDS
			$build/\${package##*/}.test -test.v=test2json -test.timeout=600s \$arguments >$1/\${package##*/}.out 2>&1 </dev/null
			echo \$? >$1/\${package##*/}.code
			echo "\$package ended after \$((SECONDS - begin)) s"
		done <$1/tests
	SCRIPT
}

# boot GUEST SCRIPT
boot() {
	local program copies=()
	for program in "$build"/* "$tools"/*; do [ -f "$program" ] && copies+=(-p "$program"); done
	case $1 in
	uml) integration/vm/boot-uml.sh -w "$PWD" -m 2048 -t 900 "${copies[@]}" -- "$2" ;;
	debian) integration/vm/boot.sh -w "$PWD" -c 1 -x quiet -t 1500 -- "$2" ;;
	systemd) integration/vm/boot.sh -s -w "$PWD" -c 1 -x quiet -t 900 -- "$2" ;;
	esac
}

# events OUT: the results as go test -json would tell them
events() {
	local package arguments
	while read -r package arguments; do
		# shellcheck disable=SC2016 # for the inner shell
		go tool test2json -t -p "foundry/$package" sh -c 'cat "$1.out"; exit "$(cat "$1.code" || echo 125)"' - "$1/${package##*/}"
	done <"$1/tests"
}

# wire: frames between the two kernels
wire() { FOUNDRY_GUEST=1 go test -json -count=1 -timeout 20m -run '^TestInteropGuest$' ./integration/net | "$tally" -counts "$counts"; }

failed=0
if ! prepare; then
	"$tally" -counts "$counts" -stage "guests: prepare" -code 1
	exit 1
fi
for guest in "$@"; do
	if [ "$guest" = wire ]; then
		wire || failed=1
		continue
	fi
	out=$build/$guest
	rm -rf "$out"
	mkdir -p "$out"
	tests "$guest" >"$out/tests"
	script "$out" >"$out/run"
	begin=$SECONDS
	boot "$guest" "bash $out/run"
	code=$?
	echo "guest $guest: $((SECONDS - begin)) s"
	[ $code = 0 ] || { "$tally" -counts "$counts" -stage "guest $guest" -code $code; failed=1; }
	events "$out" | "$tally" -counts "$counts" -skips integration/skips-guest.txt || failed=1
done
exit $failed
