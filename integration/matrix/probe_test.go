// SPDX-License-Identifier: Apache-2.0

package matrix

// probe is the program of every container, a script for busybox. Each line
// that it prints says what it is about, so that lines can be compared without
// their neighbours. What its shell can read itself, it reads itself: another
// process may have other capabilities.
const probe = `exec 2>&1
echo "argv $#"; for a; do echo "arg <$a>"; done
lines() { [ -e "$2" ] || { echo "$1 absent"; return; }; while IFS= read -r l; do echo "$1 $l"; done <"$2"; }
while read -r k v; do
	case $k in
	Uid:|Gid:|Groups:|NSpid:|NStgid:|NSpgid:|NSsid:|NoNewPrivs:|Seccomp*|Umask:|Cap*|SigIgn:|SigBlk:|SigCgt:|Cpus_allowed_list:|Mems_allowed_list:) echo "status $k $v";;
	esac
done </proc/self/status
lines limits /proc/self/limits
lines oom /proc/self/oom_score_adj
lines personality /proc/$$/personality
lines timens /proc/self/timens_offsets
lines uid_map /proc/self/uid_map
lines gid_map /proc/self/gid_map
lines cgroup /proc/self/cgroup
lines coredump_filter /proc/self/coredump_filter
lines hostname /proc/sys/kernel/hostname
lines domainname /proc/sys/kernel/domainname
for f in net/ipv4/ip_unprivileged_port_start net/ipv4/ping_group_range net/ipv4/ip_forward kernel/shm_rmid_forced kernel/msgmax fs/mqueue/msg_max; do
	lines "sysctl $f" /proc/sys/$f
done
if read -r l </proc/$$/stat; then
	set -- ${l##*) }
	echo "sched nice ${17} priority ${38} policy ${39}"
fi
ionice -p $$ | while IFS= read -r l; do echo "ionice $l"; done
echo "cwd $(pwd -P)"
tr '\0' '\n' </proc/$$/environ | while IFS= read -r l; do echo "env $l"; done
for f in /proc/$$/fd/*; do echo "fd ${f##*/}"; done
for n in cgroup ipc mnt net pid time user uts; do echo "ns $n $(readlink /proc/$$/ns/$n)"; done
grep _ses /proc/keys | while read -r id rest; do echo "key $rest"; done
tty | while IFS= read -r l; do echo "tty $l"; done
[ -t 0 ] && echo "size $(stty size)"
cut -d: -f1 -s </proc/net/dev | while read -r l; do echo "link $l"; done
lines lo /sys/class/net/lo/operstate
look() { stat -c '%n %F %a %u:%g %t:%T %s' "$@" | while IFS= read -r l; do echo "file $l"; done; }
find /dev -xdev | sort | while IFS= read -r f; do
	case $(stat -c %F "$f") in
	"symbolic link") echo "dev $f -> $(readlink "$f")";;
	*) stat -c 'dev %n %F %a %u:%g %t:%T' "$f";;
	esac
done
find / /dev/pts /dev/mqueue /dev/shm -maxdepth 1 -mindepth 1 | sort -u | while IFS= read -r f; do echo "exists $f"; done
for f in /proc/kcore /proc/keys /proc/timer_list /proc/scsi /proc/acpi /sys/firmware /proc/bus /proc/sys /proc/sysrq-trigger /secret /hidden /hidden/x /public; do
	[ -e $f ] && stat -c 'path %n %F %a %t:%T' $f
done
find /m -maxdepth 4 | sort | while IFS= read -r f; do look "$f"; [ -L "$f" ] && echo "link $f $(readlink "$f")"; done
find /sys/fs/cgroup -maxdepth 1 | sort | while IFS= read -r f; do echo "group $(stat -c '%n %F' $f) $(readlink $f)"; done
lines mount /proc/self/mountinfo
echo end
`

// applets are the names that the probe needs of busybox.
var applets = []string{"sh", "cat", "cut", "find", "grep", "ionice", "ls", "readlink", "sleep", "sort", "stat", "stty", "tr", "tty"}
