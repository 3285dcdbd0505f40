#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# nerdctl.sh: drive a real nerdctl through a private containerd, and say of each thing a user does whether it held.
#   NERDCTL=/path/to/nerdctl BIN=dir:dir scripts/nerdctl.sh [RUNTIME]
# nerdctl cannot be had from the package registries that CI reaches, so this is run by hand; docs/clients.md has the results.
# Everything happens in a mount and a network namespace of its own, under tmpfs, and ends with them.
set -u
runtime=${1:-io.containerd.foundry.v1}
: "${NERDCTL:?path of nerdctl}" "${BIN:?directories with foundry, containerd and runc}"
if [ "${INSIDE:-}" != 1 ]; then
  INSIDE=1 NERDCTL=$(realpath "$NERDCTL") exec unshare -m -n -- "$0" "$@"
fi
mount --make-rprivate /
img=$(mktemp -d); self=$(cd "$(dirname "$0")/.." && pwd)
cp "$NERDCTL" "$img/nerdctl"; keep=/mnt
mount -t tmpfs tmpfs $keep; cp "$img/nerdctl" $keep/nerdctl; rm -rf "$img"
for d in /run /var/lib /etc/cni /tmp; do mkdir -p $d; mount -t tmpfs -o mode=1777 tmpfs $d; done
ip link set lo up
export PATH=$BIN:$PATH TMPDIR=/tmp CONTAINERD_ADDRESS=/run/c/containerd.sock CNI_PATH=/usr/lib/cni
mkdir -p /etc/containerd
. "$self/scripts/byhand.sh"
private_containerd
n() { timeout 60 $keep/nerdctl --address $CONTAINERD_ADDRESS --cni-path /usr/lib/cni "$@"; }
run() { n run --runtime "$runtime" "$@"; }
(cd "$self" && go run ./integration/env/mkimage /tmp/bb.tar docker.io/library/busybox:latest) || exit 1
n load -q -i /tmp/bb.tar >/dev/null || exit 1

check "run --rm true" 'rc=0$' run --rm $I true
check "exit code" 'rc=42$' run --rm $I sh -c 'exit 42'
check "run -i cat" 'hello.*rc=0$' bash -c "echo hello | $keep/nerdctl --address $CONTAINERD_ADDRESS run --runtime $runtime --rm -i $I cat"
check "run -it" '24 80.*rc=0$' tty $keep/nerdctl --address $CONTAINERD_ADDRESS run --runtime "$runtime" --rm -it $I sh -c 'stty rows 24 cols 80; stty size'
check "run -d" 'rc=0$' run -d --name web -p 8080:80 $I sh -c 'echo started; mkdir -p /www; echo it works > /www/index.html; httpd -f -p 80 -h /www'
sleep 1
check "ps" 'web.*rc=0$' n ps
check "logs" 'started.*rc=0$' n logs web
check "exec" 'rc=0$' n exec web true
check "exec code" 'exit code 7' n exec web sh -c 'exit 7'
check "exec -it" 'pts/0.*rc=0$' tty $keep/nerdctl --address $CONTAINERD_ADDRESS exec -it web sh -c 'tty'
ip=$(n inspect -f '{{.NetworkSettings.IPAddress}}' web)
check "bridge network by address" 'it works.*rc=0$' busybox wget -qO- "http://$ip/"
check "published port" 'it works.*rc=0$' busybox wget -qO- "http://$(ip -4 -o addr show nerdctl0 | awk '{print $4}' | cut -d/ -f1):8080/"
check "container to container" 'it works.*rc=0$' run --rm $I wget -qO- "http://$ip/"
check "stats" 'web.*rc=0$' n stats --no-stream
check "top" 'httpd.*rc=0$' n top web
check "pause" 'rc=0$' n pause web
check "exec into a paused container is refused" 'rc=1$' n exec web true
check "unpause" 'rc=0$' n unpause web
echo data > /tmp/file
check "cp in" 'rc=0$' n cp /tmp/file web:/tmp/file
check "cp out" 'data.*rc=0$' bash -c "$keep/nerdctl --address $CONTAINERD_ADDRESS cp web:/tmp/file /tmp/back && cat /tmp/back"
check "update" 'rc=0$' n update --memory 64m web
check "inspect" 'running.*rc=0$' n inspect -f '{{.State.Status}}' web
check "restart" 'rc=0$' n restart -t 1 web
sleep 1
check "runs again" 'rc=0$' n exec web true
check "commit" 'rc=0$' n commit web web-image
check "kill" 'rc=0$' n kill web
check "wait" 'rc=0$' n wait web
check "rm" 'rc=0$' n rm -f web
check "memory limit: OOM is 137" 'rc=137$' run --rm --memory 16m $I sh -c 'tail /dev/zero'
check "user" 'uid=1000.*gid=1000.*rc=0$' run --rm --user 1000:1000 $I id
check "read-only" 'Read-only file system.*rc=1$' run --rm --read-only $I touch /x
check "tmpfs and volume" 'rc=0$' run --rm --tmpfs /t -v /tmp:/hosttmp:ro $I sh -c 'mount | grep -q " /t type tmpfs" && test -f /hosttmp/file'
check "sysctl" '^1 rc=0$' run --rm --sysctl net.ipv4.ip_forward=1 $I cat /proc/sys/net/ipv4/ip_forward
check "cap-drop" 'rc=0$' run --rm --cap-drop ALL $I sh -c 'grep -q "CapEff:.0000000000000000" /proc/self/status'
check "net none" 'rc=0$' run --rm --net none $I sh -c '! ip link show eth0 2>/dev/null'
check "net host" 'nerdctl0.*rc=0$' run --rm --net host $I ip link
check "privileged" 'rc=0$' run --rm --privileged $I sh -c 'mount -t tmpfs t /tmp'
check "init" 'rc=3$' run --rm -e X=1 $I sh -c 'exit 3'
twenty
check "missing program" 'not found|no such file.*rc=1' run --rm $I nosuchprogram
check "nothing left running" '^ ?rc=0$' n ps -aq
finish
