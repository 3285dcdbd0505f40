#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# systemd-run.sh: what the only unit of a guest with systemd runs: the command that boot.sh left in /run/ctl/cmd. It
# leaves the exit code in /run/ctl/rc and switches off. See boot.sh -s and setup-systemd.sh.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
read -r u _ </proc/uptime
echo "$(cat /run/boottimes) t_cmd=$u" >/run/ctl/times
out=/dev/console
for p in /sys/class/virtio-ports/*; do [ "$(cat "$p/name" 2>/dev/null)" = out ] && out=/dev/${p##*/}; done
exec 3>"$out"
cd "$(cat /run/ctl/cwd)" 2>/dev/null || cd /
bash /run/ctl/cmd </dev/null >&3 2>&3
rc=$?
read -r u _ </proc/uptime
echo "t_end=$u" >>/run/ctl/times
echo $rc >/run/ctl/rc
exec 3>&-
sync
busybox reboot -f
