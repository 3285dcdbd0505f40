#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# setup.sh [DIR]: fetch what the guests of this directory are made of.
#
# From Debian packages alone, which are unpacked and never installed: a stock
# kernel for boot.sh (QEMU) and user-mode Linux for boot-uml.sh. The tools that
# run on the host (qemu, kmod, cpio, busybox) are installed when missing, which
# needs root. About a minute and 700 MB; nothing is done twice, so CI can keep
# DIR. DIR is $FOUNDRY_CACHE/vm, or ~/.cache/foundry/vm.
set -eu
src=$(cd "$(dirname "$0")" && pwd)
dir=${1:-${FOUNDRY_CACHE:-$HOME/.cache/foundry}/vm}
mkdir -p "$dir/k" "$dir/debs"
cd "$dir"

need=""
for p in qemu-system-x86 busybox-static kmod cpio xz-utils python3; do
	dpkg -s "$p" >/dev/null 2>&1 || need="$need $p"
done
export DEBIAN_FRONTEND=noninteractive
if [ -n "$need" ]; then
	apt-get update -qq
	# shellcheck disable=SC2086 # a list of words
	apt-get -o DPkg::Lock::Timeout=600 install -y -qq --no-install-recommends $need >/dev/null
fi

# The meta package names the current kernel: linux-image-6.1.0-NN-amd64.
pkg=$(apt-cache depends linux-image-amd64 | awk '/Depends:/ {print $2; exit}')
kver=${pkg#linux-image-}
if [ ! -f "vmlinux-$kver" ]; then
	(cd debs && apt-get download -qq "$pkg" 2>/dev/null)
	rm -rf "k/$pkg"
	mkdir -p "k/$pkg"
	dpkg-deb -x debs/"${pkg}"_*.deb "k/$pkg"
	depmod -b "k/$pkg" "$kver"
	python3 "$src/extract-vmlinux.py" "k/$pkg/boot/vmlinuz-$kver" "vmlinux-$kver"
fi
"$src/mkinitramfs.sh" "$kver" "k/$pkg" initrd-amd64.img

if [ ! -x uml/usr/bin/linux.uml ]; then
	(cd debs && apt-get download -qq user-mode-linux 2>/dev/null)
	mkdir -p uml
	dpkg-deb -x debs/user-mode-linux_*.deb uml
fi
# The loader of profiles, for the guest whose kernel has AppArmor.
if [ ! -x apparmor/sbin/apparmor_parser ]; then
	(cd debs && apt-get download -qq apparmor 2>/dev/null)
	mkdir -p apparmor
	dpkg-deb -x debs/apparmor_*.deb apparmor
fi
echo "ready: $kver, user-mode Linux $(ls uml/usr/lib/uml/modules)"
