#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# mkinitramfs.sh KVER ROOT OUT: the first file system of a QEMU guest.
#
# busybox, init.sh and the modules (with all that they need) by which a guest
# reaches its root: 9p or virtiofs for the host's, virtio_blk and ext4 for an
# image. ROOT is the unpacked kernel package. setup.sh calls it.
set -eu
kver=$1 root=$2 out=$3
base="virtio_pci virtio_console overlay 9pnet_virtio 9p virtiofs"
blk="virtio_blk ext4"

d=$(mktemp -d)
trap 'rm -rf "$d"' EXIT
mkdir -p "$d"/{bin,proc,sys,dev,lower,rw,newroot,mod}
cp /bin/busybox "$d/bin/busybox"
for a in sh mount umount mkdir insmod switch_root cat sleep poweroff reboot ln cp chmod printf echo grep cut mknod; do
	ln -s busybox "$d/bin/$a"
done

# The cloud flavour of the kernel has virtiofs and no 9p.
[ -z "$(find "$root/lib/modules/$kver" -name '9p.ko*' -print -quit)" ] || base=${base% virtiofs}
for l in base blk; do # mod/base and mod/blk list the modules in the order of loading
	for m in ${!l}; do
		modprobe -d "$root" -S "$kver" --show-depends "$m" 2>/dev/null | awk '$1 == "insmod" {print $2}' || true
	done | awk '!seen[$0]++' | while read -r ko; do
		cp "$ko" "$d/mod/"
		basename "$ko"
	done >"$d/mod/$l"
done
cp "$(dirname "$0")/init.sh" "$d/init"
chmod 755 "$d/init"
(cd "$d" && find . | cpio --quiet -o -H newc -R 0:0) >"$out"
