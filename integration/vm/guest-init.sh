#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# guest-init.sh: process 1 of a QEMU guest once it has its root. It makes a
# pure cgroup v2 world, runs the command that boot.sh left in /run/ctl/cmd,
# leaves the exit code in /run/ctl/rc and switches off. See boot.sh.
export PATH=/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
mkdir -p /dev/pts /dev/shm
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs shm /dev/shm
# A /tmp of its own: the root is an overlay, on which another cannot be mounted. A work directory below it is put back.
work=$(cat /run/ctl/workdir)
case $work in /tmp/*) mkdir -p /run/work && mount --bind "$work" /run/work ;; *) work= ;; esac
mount -t tmpfs -o mode=1777 tmp /tmp
[ -z "$work" ] || { mkdir -p "$work" && mount --bind /run/work "$work"; }
mkdir -p /sys/fs/cgroup
mount -t cgroup2 -o nsdelegate,memory_recursiveprot none /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
mount -t securityfs securityfs /sys/kernel/security 2>/dev/null
mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null
for c in $(cat /sys/fs/cgroup/cgroup.controllers); do echo "+$c" >/sys/fs/cgroup/cgroup.subtree_control 2>/dev/null; done
# shellcheck disable=SC2046 # a list of aliases
modprobe -qa $(cat /sys/bus/virtio/devices/*/modalias) af_packet 2>/dev/null
ip link set lo up
echo 1 >/proc/sys/net/ipv4/ip_forward
hostname guest
read -r u _ </proc/uptime
echo "$(cat /run/boottimes) t_cmd=$u" >/run/ctl/times

# The command's output goes through a virtio port of its own: the console is
# slow and full of the kernel's messages.
out=/dev/console
for p in /sys/class/virtio-ports/*; do [ "$(cat "$p/name" 2>/dev/null)" = out ] && out=/dev/${p##*/}; done
ln -sf /proc/self/fd /dev/fd
ln -sf /proc/self/fd/0 /dev/stdin
ln -sf /proc/self/fd/1 /dev/stdout
ln -sf /proc/self/fd/2 /dev/stderr
exec 3>"$out"
# shellcheck disable=SC1091
[ -f /run/ctl/env ] && . /run/ctl/env
cd "$(cat /run/ctl/cwd)" 2>/dev/null || cd /
bash /run/ctl/cmd </dev/null >&3 2>&3
rc=$?
read -r u _ </proc/uptime
echo "t_end=$u" >>/run/ctl/times
echo $rc >/run/ctl/rc
exec 3>&-
sync
busybox reboot -f
