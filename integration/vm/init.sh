#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# init.sh: process 1 of a QEMU guest, from the initramfs, until the root is
# there; then it becomes guest-init.sh or what boot.sh -i names. See boot.sh.
#
# The root is an overlay of the host's (9p or virtiofs, read-only) and a tmpfs,
# or the block device of foundry.root. /run/ctl is shared with boot.sh.
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev

up() { read -r u _ </proc/uptime; echo "$u"; }
arg() { for w in $(cat /proc/cmdline); do case $w in "$1"=*) echo "${w#*=}" ;; esac; done; }
share() { # TAG DIR 9P_CACHE ro|rw
	case "$FS" in
	virtiofs) mount -t virtiofs "$1" "$2" ;;
	*) mount -t 9p -o "trans=virtio,version=9p2000.L,msize=512000,cache=$3,$4" "$1" "$2" ;;
	esac
}
die() { echo "init.sh: $1"; reboot -f; }

T0=$(up)
FS=$(arg foundry.fs)
ROOT=$(arg foundry.root)
L=/mod/base
[ -n "$ROOT" ] && L="$L /mod/blk"
for m in $(cat $L); do insmod "/mod/$m" 2>/dev/null; done

mount -t tmpfs -o mode=755 tmpfs /rw
mkdir /rw/up /rw/work
if [ -n "$ROOT" ]; then
	mount -t ext4 "$ROOT" /newroot || die "cannot mount $ROOT"
else
	share hostroot /lower loose ro || die "cannot mount the host's root"
	mount -t overlay -o lowerdir=/lower,upperdir=/rw/up,workdir=/rw/work overlay /newroot || die "cannot mount the overlay"
fi
mkdir -p /newroot/run
mount -t tmpfs -o mode=755 run /newroot/run
mkdir -p /newroot/run/ctl
share ctl /newroot/run/ctl mmap rw
W=$(cat /newroot/run/ctl/workdir)
if [ -n "$W" ]; then
	mkdir -p "/newroot$W"
	share work "/newroot$W" mmap rw
fi
M=$(cat /newroot/run/ctl/moddir)
if [ -n "$M" ]; then
	mkdir -p /newroot/lib/modules
	if [ -d "/newroot$M" ]; then mount -o bind "/newroot$M" /newroot/lib/modules; else share mods /newroot/lib/modules loose ro; fi
fi
echo "t_init=$T0 t_root=$(up)" >/newroot/run/boottimes
mount -o move /proc /newroot/proc
mount -o move /sys /newroot/sys
mount -o move /dev /newroot/dev
# shellcheck disable=SC2046 # a program and its arguments
exec switch_root /newroot $(cat /newroot/run/ctl/init)
