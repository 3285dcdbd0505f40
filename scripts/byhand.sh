# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# byhand.sh is sourced by the scripts that drive real clients by hand: a private containerd, and the checks with their count.
# $runtime is the runtime under test.

# shellcheck disable=SC2034 # for who sources this
I=busybox:latest
pass=0 fail=0

# private_containerd: its socket is /run/c/containerd.sock; $cpid is its pid
private_containerd() {
	mkdir -p /run/c
	cat >/run/c/config.toml <<-T
		version = 3
		root = "/var/lib/c"
		state = "/run/c/state"
		disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime"]
		[grpc]
		address = "/run/c/containerd.sock"
	T
	containerd -c /run/c/config.toml >/run/c/log 2>&1 &
	cpid=$!
	for _ in $(seq 100); do
		ctr -a /run/c/containerd.sock version >/dev/null 2>&1 && return
		sleep .1
	done
	tail -5 /run/c/log
	exit 1
}

# check WHAT REGEXP COMMAND...: the command's output and "rc=CODE" match
check() {
	local what=$1 want=$2 out rc
	shift 2
	out=$("$@" 2>&1)
	rc=$?
	if printf '%s rc=%s' "$out" $rc | tr '\n' ' ' | grep -Eq -- "$want"; then
		pass=$((pass + 1))
		echo "ok   $what"
	else
		fail=$((fail + 1))
		echo "FAIL $what: want /$want/, got rc=$rc"
		printf '%s\n' "$out" | tail -5 | sed 's/^/     /'
	fi
}

# tty COMMAND...: with a terminal
tty() { script -qec "$(printf '%q ' "$@")" /dev/null; }

# twenty: 20 containers at once, by the function run, each with another exit code
twenty() {
	local pids=() good=0 i
	for i in $(seq 20); do
		run --rm --name "p$i" $I sh -c "exit $i" >/dev/null 2>&1 &
		pids+=($!)
	done
	for i in $(seq 20); do
		wait "${pids[$((i - 1))]}"
		[ $? = "$i" ] && good=$((good + 1))
	done
	check "20 at once" '^20 rc=0$' echo $good
}

# finish: the sum; containerd, and what the shims left behind in this namespace's own instance, are ended by pid
finish() {
	local s
	echo "$pass passed, $fail failed"
	for s in /run/foundry/*/server; do
		# shellcheck disable=SC2046 # two pids
		[ -f "$s" ] && kill $(awk -F= '$1=="pid"||$1=="spawner"{print $2}' "$s") 2>/dev/null
	done
	kill $cpid
	wait $cpid 2>/dev/null
	[ $fail = 0 ]
}
