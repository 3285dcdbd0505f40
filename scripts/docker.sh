#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# docker.sh: drive a real Docker daemon (23 or later) with this runtime, and say of each thing a user does whether it held.
#   DOCKER=/path/to/docker DOCKERD=/path/to/dockerd BIN=dir:dir scripts/docker.sh [RUNTIME]
# BIN: directories with foundry, containerd, ctr, runc and docker-proxy; tini is taken from the host for --init. No Docker package with a usable version can be had
# from the registries that CI reaches, so this is run by hand; docs/clients.md has the results and says how to build one.
# Everything happens in a mount and a network namespace of its own, under tmpfs, and ends with them.
set -u
runtime=${1:-io.containerd.foundry.v1}
: "${DOCKER:?path of the docker client}" "${DOCKERD:?path of dockerd}" "${BIN:?directories with foundry, containerd and runc}"
if [ "${INSIDE:-}" != 1 ]; then
  DOCKER=$(realpath "$DOCKER") DOCKERD=$(realpath "$DOCKERD") INSIDE=1 exec unshare -m -n -- "$0" "$@"
fi
mount --make-rprivate /
self=$(cd "$(dirname "$0")/.." && pwd)
img=$(mktemp -d); cp "$DOCKER" "$img/docker"; cp "$DOCKERD" "$img/dockerd"; keep=/mnt
IFS=: read -ra dirs <<<"$BIN"
for d in "${dirs[@]}"; do find "$(realpath "$d")" -maxdepth 1 -type f -perm -u+x -exec cp -n {} "$img/" \;; done
mount -t tmpfs tmpfs $keep; cp "$img"/* $keep/; rm -rf "$img"
for d in /run /var/lib /etc/docker /tmp; do mkdir -p $d; mount -t tmpfs -o mode=1777 tmpfs $d; done
mkdir /run/lock
ip link set lo up
export PATH=$keep:$PATH TMPDIR=/tmp DOCKER_HOST=unix:///run/docker.sock
. "$self/scripts/byhand.sh"
private_containerd
parent=/foundry-docker-$$
start_dockerd() {
  dockerd --containerd /run/c/containerd.sock --data-root /var/lib/docker --exec-root /run/docker -H $DOCKER_HOST -p /run/docker.pid \
    --live-restore --default-runtime "$runtime" --init-path /usr/bin/tini-static --cgroup-parent $parent --exec-opt native.cgroupdriver=cgroupfs >> /run/dockerd.log 2>&1 & dpid=$!
  for _ in $(seq 150); do docker version >/dev/null 2>&1 && return; sleep .1; done
  tail -20 /run/dockerd.log; exit 1
}
(cd "$self" && go run ./integration/env/mkimage /tmp/bb.tar docker.io/library/busybox:latest) || exit 1
export HOME=/tmp
start_dockerd
n() { timeout 60 docker "$@"; }
run() { n run "$@"; }
n load -q -i /tmp/bb.tar || exit 1

check "the daemon names the runtime" "$runtime.*rc=0\$" n info -f '{{.DefaultRuntime}}'
check "run --rm true" 'rc=0$' run --rm $I true
check "exit code" 'rc=42$' run --rm $I sh -c 'exit 42'
check "run -i cat" 'hello.*rc=0$' bash -c "echo hello | timeout 20 docker run --rm -i $I cat"
check "run -it" '24 80.*rc=0$' tty docker run --rm -it $I sh -c 'stty rows 24 cols 80; stty size'
check "run -d -p" 'rc=0$' run -d --name web -p 8080:80 $I sh -c 'echo started; mkdir -p /www; echo it works > /www/index.html; httpd -f -p 80 -h /www'
sleep 1
check "ps" 'web.*rc=0$' n ps
check "logs" 'started.*rc=0$' n logs web
check "exec" 'rc=0$' n exec web true
check "exec code" 'rc=7$' n exec web sh -c 'exit 7'
check "exec -it" 'pts/0.*rc=0$' tty docker exec -it web sh -c 'tty'
ip=$(n inspect -f '{{.NetworkSettings.Networks.bridge.IPAddress}}' web)
check "bridge network by address" 'it works.*rc=0$' busybox wget -qO- "http://$ip/"
check "published port" 'it works.*rc=0$' busybox wget -qO- "http://127.0.0.1:8080/"
check "container to container" 'it works.*rc=0$' run --rm $I wget -qO- "http://$ip/"
n network create net1 >/dev/null
check "user network, name resolution" 'pong.*rc=0$' bash -c "docker run -d --rm --network net1 --name ponger $I sh -c 'mkdir /w; echo pong >/w/index.html; exec httpd -f -p 80 -h /w' >/dev/null; sleep 1; docker run --rm --network net1 $I wget -qO- http://ponger/; r=\$?; docker kill ponger >/dev/null; exit \$r"
check "stats" 'web.*rc=0$' n stats --no-stream
check "top" 'httpd.*rc=0$' n top web
check "pause" 'rc=0$' n pause web
check "exec into a paused container is refused" 'rc=1$' n exec web true
check "unpause" 'rc=0$' n unpause web
echo data > /tmp/file
check "cp in and out" 'data.*rc=0$' bash -c "docker cp /tmp/file web:/tmp/file && docker cp web:/tmp/file /tmp/back && cat /tmp/back"
check "update" 'rc=0$' n update --memory 64m --memory-swap 64m web
check "inspect" 'running.*rc=0$' n inspect -f '{{.State.Status}}' web
kill "$dpid"; wait "$dpid" 2>/dev/null; start_dockerd
check "the daemon restarted: still running" 'true.*rc=0$' n inspect -f '{{.State.Running}}' web
check "the daemon restarted: exec" 'rc=0$' n exec web true
check "the daemon restarted: published port" 'it works.*rc=0$' busybox wget -qO- "http://127.0.0.1:8080/"
check "restart" 'rc=0$' n restart -t 1 web
check "runs again" 'rc=0$' n exec web true
check "commit" 'rc=0$' n commit web web-image
check "stop -t 2" 'rc=0$' n stop -t 2 web
check "stop waited its time and killed" '^137 rc=0$' n inspect -f '{{.State.ExitCode}}' web
check "rm" 'rc=0$' n rm web
check "OOMKilled" 'true 137 rc=0$' bash -c "docker run --name oom --memory 16m --memory-swap 16m $I sh -c 'tail /dev/zero'; docker inspect -f '{{.State.OOMKilled}} {{.State.ExitCode}}' oom; docker rm oom >/dev/null"
check "--init reaps" 'rc=0$' run --rm --init $I sh -c 'ps | grep -q docker-init'
check "user" 'uid=1000.*gid=1000.*rc=0$' run --rm --user 1000:1000 $I id
check "read-only" 'Read-only file system.*rc=1$' run --rm --read-only $I touch /x
check "tmpfs and volume" 'rc=0$' run --rm --tmpfs /t -v /tmp:/hosttmp:ro $I sh -c 'mount | grep -q " /t type tmpfs" && test -f /hosttmp/file'
check "named volume" 'kept.*rc=0$' bash -c "docker run --rm -v vol:/v $I sh -c 'echo kept >/v/f' && docker run --rm -v vol:/v $I cat /v/f"
check "sysctl" '^1 rc=0$' run --rm --sysctl net.ipv4.ip_forward=1 $I cat /proc/sys/net/ipv4/ip_forward
check "cap-drop" 'rc=0$' run --rm --cap-drop ALL $I sh -c 'grep -q "CapEff:.0000000000000000" /proc/self/status'
check "default seccomp profile" 'rc=1$' run --rm $I unshare -r true
check "net none" 'rc=0$' run --rm --net none $I sh -c '! ip link show eth0 2>/dev/null'
check "net host" 'docker0.*rc=0$' run --rm --net host $I ip link
check "net container:" 'it works.*rc=0$' bash -c "docker run -d --name peer $I sh -c 'mkdir /w; echo it works >/w/index.html; exec httpd -f -p 81 -h /w' >/dev/null; sleep 1; docker run --rm --net container:peer $I wget -qO- http://127.0.0.1:81/; r=\$?; docker rm -f peer >/dev/null; exit \$r"
check "pid host, ipc host" 'rc=0$' run --rm --pid host --ipc host $I sh -c "test -d /proc/$cpid"
check "privileged" 'rc=0$' run --rm --privileged $I sh -c 'mount -t tmpfs t /tmp'
check "healthcheck" 'healthy rc=0$' bash -c "docker run -d --name health --health-cmd true --health-interval 1s $I sleep 60 >/dev/null; for i in \$(seq 20); do s=\$(docker inspect -f '{{.State.Health.Status}}' health); [ \$s = healthy ] && break; sleep .5; done; docker rm -f health >/dev/null; echo \$s"
check "restart policy" 'rc=0$' bash -c "docker run -d --name again --restart on-failure:2 $I sh -c 'exit 1' >/dev/null; for i in \$(seq 40); do c=\$(docker inspect -f '{{.RestartCount}}' again); [ \$c = 2 ] && break; sleep .5; done; docker rm -f again >/dev/null; [ \$c = 2 ]"
twenty
check "missing program" 'not found|no such file.*rc=127' run --rm $I nosuchprogram
check "nothing left" '^ ?rc=0$' n ps -aq
kill "$dpid"; wait "$dpid" 2>/dev/null
[ -z "${KEEP_LOG:-}" ] || cp /run/dockerd.log "$KEEP_LOG"
finish; good=$?
for d in /sys/fs/cgroup/*/$parent /sys/fs/cgroup/$parent; do [ -d "$d" ] && rmdir "$d"; done
exit $good
