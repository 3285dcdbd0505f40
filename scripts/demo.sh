#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# demo.sh: containers on a private containerd with Foundry as their runtime, step by step, and everything removed at the end.
set -eu
cd "$(dirname "$0")/.."
[ "$(id -u)" = 0 ] || { echo "demo: containers need root" >&2; exit 1; }
tools=${FOUNDRY_CACHE:-$HOME/.cache/foundry}/tools/containerd-2.4.2
dir=$(mktemp -d /tmp/foundry-demo.XXXXXX)
runtime=io.containerd.foundry.v1
image=foundry.test/busybox:latest
export PATH=$PWD/bin:$tools:$PATH FOUNDRY_ROOT=$dir/f CONTAINERD_ADDRESS=$dir/c.sock CONTAINERD_NAMESPACE=demo
export CONTAINERD_SUPPRESS_DEPRECATION_WARNINGS=1 # of cgroup v1, with every ctr

bold='' plain=''
[ ! -t 1 ] || { bold=$(printf '\033[1m') plain=$(printf '\033[0m'); }
say() { printf '\n%s# %s%s\n' "$bold" "$*" "$plain"; }
show() { printf '$ %s\n' "$*"; "$@"; }
run() { show ctr run -d --runtime $runtime "$@"; }

servers() { cat "$dir"/f/*/server 2>/dev/null | sed -n 's/^\(pid\|spawner\)=//p'; }

finish() {
	code=$?
	set +e
	[ $code = 0 ] || { echo "demo: failed; containerd's log ends:"; tail -n 20 "$dir/log"; tail -n 20 "$dir"/f/*/log; }
	for id in $(ctr tasks ls -q 2>/dev/null); do ctr tasks kill -s KILL "$id" && ctr tasks rm -f "$id"; done >/dev/null 2>&1
	for id in $(ctr containers ls -q 2>/dev/null); do ctr containers rm "$id"; done >/dev/null 2>&1
	[ -z "${events-}" ] || kill "$events" 2>/dev/null
	pids=$(servers)
	[ -z "$pids" ] || kill $pids 2>/dev/null
	[ -z "${daemon-}" ] || { kill "$daemon" && wait "$daemon"; } 2>/dev/null
	for pid in $pids; do for _ in $(seq 100); do [ -d "/proc/$pid" ] || break; sleep 0.05; done; done
	for m in $(awk -v d="$dir/" 'index($5, d) == 1 {print $5}' /proc/self/mountinfo | tac); do umount -l "$m"; done
	for id in "$dir"/f/*/; do id=$(basename "$id"); find /sys/fs/cgroup -depth -type d -path "*$id*" -exec rmdir {} + 2>/dev/null; done
	rmdir /sys/fs/cgroup/demo /sys/fs/cgroup/*/demo 2>/dev/null
	rm -rf "$dir"
	[ $code != 0 ] || say "gone: containers, server, containerd and $dir"
	exit $code
}
trap finish EXIT
trap 'exit 130' INT TERM

say "a containerd of our own"
cat >"$dir/config.toml" <<-TOML
	version = 3
	root = "$dir/root"
	state = "$dir/state"
	disabled_plugins = ["io.containerd.grpc.v1.cri"]
	[grpc]
	address = "$dir/c.sock"
	[ttrpc]
	address = "$dir/c.sock.ttrpc"
	[plugins."io.containerd.shim.v1.manager"]
	socket_dir = "$dir/s"
TOML
containerd --config "$dir/config.toml" --log-level warn >"$dir/log" 2>&1 &
daemon=$!
for _ in $(seq 200); do ctr version >/dev/null 2>&1 && break; sleep 0.05; done
ctr version | sed -n '/Server/,/Version/p'
go run ./integration/env/mkimage "$dir/busybox.tar" $image
show ctr images import "$dir/busybox.tar"
ctr events >"$dir/events" 2>/dev/null &
events=$!

say "three containers"
for id in one two three; do run $image $id sleep 1000; done
show ctr tasks ls

say "a process in one of them"
show ctr tasks exec --exec-id hello one sh -c 'echo hello from $(hostname), pid $$; ps'

say "a container with a terminal (ctr tells its size once it runs)"
printf '$ ctr run -t --rm --runtime %s %s term sh -c "tty; sleep 0.3; stty size"\n' $runtime $image
mkfifo "$dir/keys"
exec 9<>"$dir/keys" # a keyboard on which nobody types
script -qefc "stty rows 30 cols 100; ctr run -t --rm --runtime $runtime $image term sh -c 'tty; sleep 0.3; stty size'" /dev/null <&9

say "pause and resume"
show ctr tasks pause two
show ctr tasks ls
show ctr tasks resume two

say "what it uses"
show ctr tasks metrics one | head -n 12

say "kill"
show ctr tasks kill -s KILL three
for _ in $(seq 100); do ctr tasks ls | grep -q 'three.*STOPPED' && break; sleep 0.05; done
show ctr tasks ls

say "what the server knows"
show foundry ps
show foundry why three

say "one server for all of them, no runc, no shim for each"
set -- $(servers)
show ps -o pid,ppid,rss,args -p "$(echo "$@" | tr ' ' ,)" --ppid "$2" | cut -c1-100

say "what containerd told its listeners"
sleep 0.3 # ctr events has no end to wait for
awk '/\/tasks\// {print $5, $6, $7}' "$dir/events" | cut -c1-100
