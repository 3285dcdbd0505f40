#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# boot.sh [options] -- COMMAND...
#
# Run COMMAND in a throw-away QEMU guest with a stock Debian kernel and cgroup
# v2; exit with its code, or 125 when the guest gave none. Slower to boot than
# boot-uml.sh, but with every controller, BTF, native XDP and all modules.
# setup.sh must have run.
#
# One word of COMMAND is text for the shell, several are a program and its
# arguments. The root is an overlay of the host's / (read-only) and a tmpfs.
#
#	-a tcg|kvm     accelerator (tcg: emulation, which works everywhere)
#	-c CPUS -m MIB processors (2) and memory (2048)
#	-t SECONDS     limit on the wall clock (300)
#	-w DIR         directory of the host, read-write, at the same path ($PWD)
#	-n "ARGS"      network devices, as QEMU arguments
#	-d IMAGE       another disk: /dev/vda
#	-r DEV[,IMAGE] root on a disk with ext4 instead of the host's /
#	-i "ARGV"      program to become process 1 instead of guest-init.sh
#	-s             systemd as process 1, in the image of setup-systemd.sh, which
#	               stays as it is
#	-x "ARGS"      more arguments for the kernel
#	-k FLAVOUR     Debian's kernel flavour: amd64 or cloud-amd64
#	-f 9p|virtiofs how directories are shared
#	-M MACHINE     QEMU machine type (pc)
#	-z             boot the bzImage, not the ELF kernel
#	-o DIR         keep the exit code, times and console.log there
#	-v             console on stderr
#
#	integration/vm/boot.sh -c 1 -x quiet -- build/cgroup.test -test.v
#
# FOUNDRY_VM_TIMES=1 prints how long the guest took.
set -u
here=$(cd "$(dirname "$0")" && pwd)
vm=${FOUNDRY_CACHE:-$HOME/.cache/foundry}/vm
acc=tcg flavour=amd64 work=$PWD mem=2048 cpus=2 net="" lim=300 disk="" extra="" fs=9p elf=1 init="" rootimg="" verbose=0 ctl="" mach=pc systemd=0 snapshot=""
while getopts a:k:w:m:c:n:t:d:x:f:i:r:o:M:szv o; do
	case $o in
	a) acc=$OPTARG ;;
	k) flavour=$OPTARG ;;
	w) work=$OPTARG ;;
	m) mem=$OPTARG ;;
	c) cpus=$OPTARG ;;
	n) net=$OPTARG ;;
	t) lim=$OPTARG ;;
	d) disk=$OPTARG ;;
	x) extra=$OPTARG ;;
	f) fs=$OPTARG ;;
	i) init=$OPTARG ;;
	r) rootimg=$OPTARG ;;
	o) ctl=$OPTARG ;;
	M) mach=$OPTARG ;;
	s) systemd=1 ;;
	z) elf=0 ;;
	v) verbose=1 ;;
	*) exit 64 ;;
	esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || set -- true

kver=$(find "$vm/k" -maxdepth 1 -name "linux-image-*-$flavour" 2>/dev/null | sed 's/.*linux-image-//' | grep -E -- "[0-9]-$flavour\$" | sort -V | tail -n 1)
[ -n "$kver" ] || { echo "boot.sh: no kernel in $vm/k: run $here/setup.sh" >&2; exit 125; }
kroot=$vm/k/linux-image-$kver
kern=$vm/vmlinux-$kver
[ $elf = 1 ] || kern=$kroot/boot/vmlinuz-$kver
if [ $systemd = 1 ]; then
	[ -f "$vm/systemd.img" ] || { echo "boot.sh: no $vm/systemd.img: run $here/setup-systemd.sh" >&2; exit 125; }
	rootimg=/dev/vda,$vm/systemd.img init=/lib/systemd/systemd snapshot=,snapshot=on
fi
[ "$flavour" = cloud-amd64 ] && fs=virtiofs # that flavour has no 9p

# What the guest needs to know lies in a directory that it mounts as /run/ctl.
own=0
[ -n "$ctl" ] || { ctl=$(mktemp -d -t vm.ctl.XXXXXX); own=1; }
mkdir -p "$ctl"
rm -f "$ctl/rc" "$ctl/times"
if [ $# -gt 1 ] || { [ -f "$1" ] && [ -x "$1" ]; }; then
	# The guest has its own /tmp; go test -exec passes programs from the host's.
	case $1 in /tmp/*) cp "$1" "$ctl/prog"; shift; set -- /run/ctl/prog "$@" ;; esac
	printf '%q ' "$@" >"$ctl/cmd"
else
	printf '%s\n' "$*" >"$ctl/cmd"
fi
echo "$work" >"$ctl/workdir"
echo "$PWD" >"$ctl/cwd"
echo "$kroot/lib/modules" >"$ctl/moddir"
cp "$here/guest-init.sh" "$ctl/guest-init"
cp "$here/systemd-run.sh" "$ctl/systemd-run"
echo "${init:-/bin/bash /run/ctl/guest-init}" >"$ctl/init"

case $acc in
tcg) accel="-accel tcg,thread=multi,tb-size=512 -cpu max" ;;
kvm) accel="-accel kvm -cpu host" ;;
*) echo "boot.sh: no accelerator $acc" >&2; exit 64 ;;
esac

shares="" pids=()
share() { # TAG DIR [,readonly=on]
	if [ "$fs" = virtiofs ]; then
		/usr/lib/qemu/virtiofsd --socket-path="$ctl/$1.sock" -o source="$2" -o cache=auto -o sandbox=chroot --rlimit-nofile=0 >"$ctl/$1.vfsd.log" 2>&1 &
		pids+=($!)
		for _ in $(seq 50); do [ -S "$ctl/$1.sock" ] && break; sleep .05; done
		shares="$shares -chardev socket,id=c$1,path=$ctl/$1.sock -device vhost-user-fs-pci,chardev=c$1,tag=$1"
	else
		shares="$shares -fsdev local,id=f$1,path=$2,security_model=none,multidevs=remap$3 -device virtio-9p-pci,fsdev=f$1,mount_tag=$1"
	fi
}
[ -n "$rootimg" ] || share hostroot / ",readonly=on"
share ctl "$ctl" ""
[ -n "$work" ] && share work "$work" ""
[ -n "$rootimg" ] && share mods "$kroot/lib/modules" ",readonly=on"
[ "$fs" = virtiofs ] && shares="$shares -object memory-backend-memfd,id=mem,size=${mem}M,share=on -numa node,memdev=mem"

root=""
if [ -n "$rootimg" ]; then
	root="foundry.root=${rootimg%%,*}"
	case $rootimg in *,*) disk="$disk ${rootimg#*,}" ;; esac
fi
drives="" n=0
for f in $disk; do
	drives="$drives -drive if=none,id=d$n,format=raw,cache=unsafe$snapshot,file=$f -device virtio-blk-pci,drive=d$n"
	n=$((n + 1))
done
serial="-chardev file,id=con,path=$ctl/console.log"
[ $verbose = 1 ] && serial="-chardev file,id=con,path=/dev/stderr"

# Through a pipe, because a file as the output's character device is written at
# offset 0 again and again.
# shellcheck disable=SC2086 # lists of words
{
	timeout --foreground "$lim" qemu-system-x86_64 -M "$mach,usb=off,graphics=off" $accel -smp "$cpus" -m "$mem" \
		-nodefaults -no-user-config -display none -no-reboot -kernel "$kern" -initrd "$vm/initrd-$flavour.img" \
		-append "console=ttyS0 panic=-1 nokaslr mitigations=off selinux=0 foundry.fs=$fs $root $extra" \
		$serial -serial chardev:con -device virtio-rng-pci -device virtio-serial-pci \
		-chardev file,id=out,path=/dev/stdout,append=on -device virtserialport,chardev=out,name=out \
		$shares $drives $net </dev/null
	echo $? >"$ctl/qrc"
} | cat
for p in ${pids[@]+"${pids[@]}"}; do kill "$p" 2>/dev/null; done

rc=125
if [ -s "$ctl/rc" ]; then
	rc=$(cat "$ctl/rc")
else
	echo "boot.sh: the guest gave no exit code (qemu ended with $(cat "$ctl/qrc")); its console is in $ctl/console.log and ends:" >&2
	tail -n 20 "$ctl/console.log" >&2
fi
if [ $own = 1 ] && [ "$rc" != 125 ]; then
	[ -n "${FOUNDRY_VM_TIMES:-}" ] && cat "$ctl/times" >&2
	rm -rf "$ctl"
fi
exit "$rc"
