#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# boot-uml.sh [-w DIR] [-m MiB] [-t SECONDS] [-e NAME=VALUE]... [-p PROGRAM]... -- COMMAND...
#
# Run COMMAND in a throw-away user-mode Linux guest with nothing but cgroup v2
# and with all capabilities; exit with its code, or 125 when the guest gave
# none. It boots in seconds and needs no /dev/kvm. setup.sh must have run.
#
# One word of COMMAND is text for the shell, several are a program and its
# arguments. The root is an overlay of the host's / (read-only) and a tmpfs;
# DIR (the current directory) is the host's, read-write, at its own path.
# /tmp is the guest's own: a program that lies below the host's (as go test
# -exec passes it) is copied. -e sets a variable for COMMAND. -p names a static
# program that COMMAND starts, directly or not: see no-avx.py.
#
#	go test -c -o build/cgroup.test ./runtime/cgroup
#	integration/vm/boot-uml.sh -w "$PWD" -- build/cgroup.test -test.v
#	go test -exec "$PWD/integration/vm/boot-uml.sh -w $PWD --" -p 1 ./runtime/cgroup
#
# FOUNDRY_VM_TIMES=1 prints how long the guest took; FOUNDRY_UML_ARGS are more
# words for its kernel.
set -u
vm=${FOUNDRY_CACHE:-$HOME/.cache/foundry}/vm
uml=$vm/uml/usr/bin/linux.uml
mods=$vm/uml/usr/lib/uml/modules
work=$PWD mem=768 lim=300 vars=()
programs=(/lib64/ld-linux-x86-64.so.2 /bin/busybox)
while getopts w:m:t:e:p: o; do
	case $o in
	w) work=$OPTARG ;;
	m) mem=$OPTARG ;;
	t) lim=$OPTARG ;;
	e) vars+=("$OPTARG") ;;
	p) programs+=("$(realpath "$OPTARG")") ;;
	*) exit 64 ;;
	esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || set -- true
[ -x "$uml" ] || { echo "boot-uml.sh: no $uml: run $(dirname "$0")/setup.sh" >&2; exit 125; }

# What the guest needs to know lies in a directory that it mounts as /run/ctl.
ctl=$(mktemp -d -t uml.ctl.XXXXXX)

# See no-xstate.py: no program of a guest on such a host may use AVX. Words that
# the kernel does not know become the environment of its first process; what has
# an environment of its own is replaced by a copy that was told.
wrap=() noavx=""
: >"$ctl/copies"
if grep -qw amx_tile /proc/cpuinfo; then
	here=$(dirname "$0")
	wrap=("$here/no-xstate.py")
	for p in "${programs[@]}"; do
		n=$((${n:-0} + 1))
		"$here/no-avx.py" "$p" "$ctl/copy$n" || exit 125
		echo "copy$n $p" >>"$ctl/copies"
	done
	noavx="GODEBUG=cpu.all=off GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX,-AVX2,-AVX512F,-AVX512VL,-AVX512BW,-AVX512DQ,-AVX512CD"
fi

for v in ${vars[@]+"${vars[@]}"}; do printf 'export %q\n' "$v"; done >"$ctl/cmd"
if [ $# -gt 1 ] || { [ -f "$1" ] && [ -x "$1" ]; }; then
	case $1 in /tmp/*) cp "$1" "$ctl/prog"; shift; set -- /run/ctl/prog "$@" ;; esac
	printf '%q ' "$@" >>"$ctl/cmd"
else
	printf '%s\n' "$*" >>"$ctl/cmd"
fi
echo "$work" >"$ctl/workdir"
echo "$PWD" >"$ctl/cwd"
echo "$mods" >"$ctl/mods"
cat >"$ctl/init" <<'INIT'
#!/bin/bash
export PATH=/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t proc proc /proc
ctl=$(sed 's/.*ctl=\([^ ]*\).*/\1/' /proc/cmdline) # from the host's root, which is still /
mods=$(cat "$ctl/mods")
work=$(cat "$ctl/workdir")
N=/run/n
mount -t tmpfs -o mode=755 run /run
mkdir -p /run/u /run/w $N /run/low
insmod "$mods"/*/kernel/fs/overlayfs/overlay.ko
mount -t hostfs -o / none /run/low
mount -t overlay -o lowerdir=/run/low,upperdir=/run/u,workdir=/run/w ovl $N || echo o >/proc/sysrq-trigger
mount -t proc proc $N/proc
mount -t sysfs sys $N/sys
mount -t devtmpfs dev $N/dev
mkdir -p $N/dev/pts $N/dev/shm
mount -t tmpfs tmp $N/tmp
mount -t tmpfs -o mode=755 run $N/run
mkdir -p $N/run/ctl
mount -t hostfs -o "$ctl" none $N/run/ctl
if [ -n "$work" ]; then
	mkdir -p "$N$work"
	mount -t hostfs -o "$work" none "$N$work"
fi
mkdir -p $N/lib/modules
mount -t hostfs -o "$mods" none $N/lib/modules
mount -t cgroup2 -o nsdelegate none $N/sys/fs/cgroup
mount -t bpf bpf $N/sys/fs/bpf
mount -t devpts devpts $N/dev/pts
mount -t tmpfs shm $N/dev/shm
ln -sf /proc/self/fd $N/dev/fd
for c in $(cat $N/sys/fs/cgroup/cgroup.controllers); do echo "+$c" >$N/sys/fs/cgroup/cgroup.subtree_control; done
cd $N && mkdir -p run/old && pivot_root . run/old && umount -l /run/old
cd /
while read -r copy program; do mount -o bind "/run/ctl/$copy" "$program"; done </run/ctl/copies
ip link set lo up
hostname uml
cd "$(cat /run/ctl/cwd)" 2>/dev/null || cd /
bash /run/ctl/cmd </dev/null >/run/ctl/out 2>&1
echo $? >/run/ctl/rc
read -r u _ </proc/uptime
echo "t_end=$u" >/run/ctl/times
sync
echo o >/proc/sysrq-trigger
sleep 9
INIT
chmod +x "$ctl/init"

: >"$ctl/out"
tail -n +1 -f --pid=$$ "$ctl/out" &
tail=$!
# The guest's memory is a file in TMPDIR: a disk would be written to.
# shellcheck disable=SC2086 # a list of words
TMPDIR=${UML_TMP:-/dev/shm} timeout "$lim" ${wrap[@]+"${wrap[@]}"} "$uml" mem="${mem}M" rootfstype=hostfs root=/dev/root rootflags=/ ro \
	init="$ctl/init" ctl="$ctl" con=null con0=null,fd:2 umid="foundry$$" quiet $noavx ${FOUNDRY_UML_ARGS:-} </dev/null >"$ctl/console.log" 2>&1
sleep .2 # for tail to print the last lines
kill $tail 2>/dev/null
wait $tail 2>/dev/null
if [ -s "$ctl/rc" ]; then
	rc=$(cat "$ctl/rc")
	[ -n "${FOUNDRY_VM_TIMES:-}" ] && cat "$ctl/times" >&2
	rm -rf "$ctl"
	exit "$rc"
fi
echo "boot-uml.sh: the guest gave no exit code within $lim s; its console is in $ctl/console.log and ends:" >&2
tail -n 20 "$ctl/console.log" >&2
exit 125
