#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# setup-systemd.sh [DIR]: make DIR/systemd.img, a small Debian with systemd as process 1 for boot.sh -s.
#
# About two minutes and 400 MB, once; nothing is booted and nothing mounted. The guest's unit runs what boot.sh leaves in
# /run/ctl, so the image need not change with the tests. DIR is $FOUNDRY_CACHE/vm, or ~/.cache/foundry/vm.
set -eu
dir=${1:-${FOUNDRY_CACHE:-$HOME/.cache/foundry}/vm}
suite=bookworm
packages=systemd,systemd-sysv,dbus,udev,kmod,iproute2,busybox-static,runc,procps
version=1 # of the image: another one is made anew
if [ -f "$dir/systemd.img" ] && [ "$(cat "$dir/systemd.version" 2>/dev/null)" = "$suite-$version" ]; then
	echo "ready: $dir/systemd.img"
	exit 0
fi
mkdir -p "$dir"

need=""
for p in debootstrap e2fsprogs; do dpkg -s "$p" >/dev/null 2>&1 || need="$need $p"; done
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086 # a list of words
[ -z "$need" ] || apt-get -o DPkg::Lock::Timeout=600 install -y -qq --no-install-recommends $need >/dev/null

# The mirror that this host uses.
mirror=$(awk '/^URIs:/ {print $2; exit}' /etc/apt/sources.list.d/*.sources 2>/dev/null || true)
[ -n "$mirror" ] || mirror=$(awk '$1 == "deb" {for (n = 2; n <= NF; n++) if ($n ~ /^https?:/) {print $n; exit}}' /etc/apt/sources.list 2>/dev/null || true)

root=$(mktemp -d -p "$dir" systemd.XXXXXX)
trap 'rm -rf "$root"' EXIT
debootstrap --variant=minbase --include=$packages $suite "$root/r" "${mirror:-http://deb.debian.org/debian}" >"$dir/debootstrap.log" 2>&1 ||
	{ tail -n 20 "$dir/debootstrap.log" >&2; exit 1; }
rm -rf "$root"/r/var/cache/apt/* "$root"/r/var/lib/apt/lists/* "$root"/r/usr/share/{doc,man,locale}/*

# What a guest that lives for a minute can do without would take it a minute to start.
for unit in systemd-timesyncd.service apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service \
	fstrim.timer getty@.service serial-getty@.service console-getty.service systemd-udev-trigger.service systemd-networkd.service \
	systemd-random-seed.service systemd-update-utmp.service systemd-logind.service systemd-binfmt.service systemd-pstore.service; do
	ln -sf /dev/null "$root/r/etc/systemd/system/$unit"
done
mkdir -p "$root/r/etc/systemd/system/multi-user.target.wants"
cat >"$root/r/etc/systemd/system/guest.service" <<'UNIT'
[Unit]
Description=What boot.sh is to run
After=dbus.service basic.target
Requires=dbus.service
[Service]
Type=oneshot
ExecStart=/bin/bash /run/ctl/systemd-run
StandardOutput=journal+console
LimitNOFILE=1048576
TasksMax=infinity
Delegate=yes
TimeoutStartSec=infinity
UNIT
ln -s ../guest.service "$root/r/etc/systemd/system/multi-user.target.wants/guest.service"
echo guest >"$root/r/etc/hostname"
: >"$root/r/etc/fstab"
: >"$root/r/etc/machine-id"
truncate -s 700M "$root/img"
mkfs.ext4 -q -F -O ^has_journal -d "$root/r" "$root/img"
mv "$root/img" "$dir/systemd.img"
echo "$suite-$version" >"$dir/systemd.version"
echo "ready: $dir/systemd.img"
