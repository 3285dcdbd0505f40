// SPDX-License-Identifier: Apache-2.0

package plan

import specs "github.com/opencontainers/runtime-spec/specs-go"

// The kernel's numbers, by its names without the prefix they share. They are
// here because this package must build, and be tested, anywhere.

// CLONE_NEW*.
const (
	cloneMount  = 0x00020000
	cloneCgroup = 0x02000000
	cloneUTS    = 0x04000000
	cloneIPC    = 0x08000000
	cloneUser   = 0x10000000
	clonePID    = 0x20000000
	cloneNet    = 0x40000000
	cloneTime   = 0x00000080
)

// MS_* of mount(2).
const (
	msRdonly      = 1 << 0
	msNosuid      = 1 << 1
	msNodev       = 1 << 2
	msNoexec      = 1 << 3
	msSynchronous = 1 << 4
	msRemount     = 1 << 5
	msMandlock    = 1 << 6
	msDirsync     = 1 << 7
	msNosymfollow = 1 << 8
	msNoatime     = 1 << 10
	msNodiratime  = 1 << 11
	msBind        = 1 << 12
	msRec         = 1 << 14
	msUnbindable  = 1 << 17
	msPrivate     = 1 << 18
	msSlave       = 1 << 19
	msShared      = 1 << 20
	msRelatime    = 1 << 21
	msStrictatime = 1 << 24
	msLazytime    = 1 << 25

	msPropagation = msUnbindable | msPrivate | msSlave | msShared
)

// MOUNT_ATTR_* of mount_setattr(2). Access time is a number in attrAtime, not
// a bit: relatime is its zero.
const (
	attrRdonly      = 0x01
	attrNosuid      = 0x02
	attrNodev       = 0x04
	attrNoexec      = 0x08
	attrAtime       = 0x70
	attrNoatime     = 0x10
	attrStrictatime = 0x20
	attrNodiratime  = 0x80
	attrNosymfollow = 0x200000

	// attrFlags are the ones that are bits.
	attrFlags = attrRdonly | attrNosuid | attrNodev | attrNoexec | attrNodiratime | attrNosymfollow
)

// File types in a mode.
const (
	modeFifo  = 0o010000
	modeChar  = 0o020000
	modeBlock = 0o060000
	modeType  = 0o170000
)

// makedev packs a device number as makedev(3) does.
func makedev(major, minor int64) uint64 {
	ma, mi := uint64(major), uint64(minor)
	return (ma&0xfff)<<8 | (ma&^0xfff)<<32 | mi&0xff | (mi&^0xff)<<12
}

// devNumbers unpacks what makedev packed.
func devNumbers(dev uint64) (major, minor uint64) {
	return dev>>8&0xfff | dev>>32&^0xfff, dev&0xff | dev>>12&^0xff&0xffffffff
}

// namespaces are in the order in which a stage joins them. The user namespace
// is not among them: when it is entered, the rights to join others are gone.
var namespaces = []struct {
	kind string
	flag uint64
}{
	{"pid", clonePID},
	{"ipc", cloneIPC},
	{"uts", cloneUTS},
	{"network", cloneNet},
	{"cgroup", cloneCgroup},
	{"time", cloneTime},
	{"mount", cloneMount},
}

func namespaceFlag(kind specs.LinuxNamespaceType) uint64 {
	for _, known := range namespaces {
		if known.kind == string(kind) {
			return known.flag
		}
	}
	if kind == specs.UserNamespace {
		return cloneUser
	}
	return 0
}

// Policies and SCHED_FLAG_* of sched_setattr(2).
var schedulerPolicies = map[specs.LinuxSchedulerPolicy]uint32{
	specs.SchedOther: 0, specs.SchedFIFO: 1, specs.SchedRR: 2, specs.SchedBatch: 3, specs.SchedIdle: 5, specs.SchedDeadline: 6,
}

var schedulerFlags = map[specs.LinuxSchedulerFlag]uint64{
	specs.SchedFlagResetOnFork: 0x01, specs.SchedFlagReclaim: 0x02, specs.SchedFlagDLOverrun: 0x04, specs.SchedFlagKeepPolicy: 0x08,
	specs.SchedFlagKeepParams: 0x10, specs.SchedFlagUtilClampMin: 0x20, specs.SchedFlagUtilClampMax: 0x40,
}

// schedAttrSize is that of struct sched_attr since Linux 5.3, with the
// utilisation clamps, for which the specification has flags and no values.
const schedAttrSize = 56

// IOPRIO_CLASS_*, above the 13 bits of the level.
var ioClasses = map[specs.IOPriorityClass]uint64{specs.IOPRIO_CLASS_RT: 1, specs.IOPRIO_CLASS_BE: 2, specs.IOPRIO_CLASS_IDLE: 3}

const ioClassShift = 13

// PER_* of personality(2).
var personalities = map[specs.LinuxPersonalityDomain]uint64{specs.PerLinux: 0, specs.PerLinux32: 8}

// MPOL_* of set_mempolicy(2).
var memoryModes = map[specs.MemoryPolicyModeType]uint64{
	specs.MpolDefault: 0, specs.MpolPreferred: 1, specs.MpolBind: 2, specs.MpolInterleave: 3, specs.MpolLocal: 4,
	specs.MpolPreferredMany: 5, specs.MpolWeightedInterleave: 6,
}

var memoryFlags = map[specs.MemoryPolicyFlagType]uint64{
	specs.MpolFStaticNodes: 1 << 15, specs.MpolFRelativeNodes: 1 << 14, specs.MpolFNumaBalancing: 1 << 13,
}

// filterWaitKillable is SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, for filters
// with a listener only.
const filterWaitKillable = 1 << 5

// rlimitNumbers are RLIMIT_*, as on all our architectures.
var rlimitNumbers = map[string]uint64{
	"RLIMIT_CPU": 0, "RLIMIT_FSIZE": 1, "RLIMIT_DATA": 2, "RLIMIT_STACK": 3, "RLIMIT_CORE": 4, "RLIMIT_RSS": 5,
	"RLIMIT_NPROC": 6, "RLIMIT_NOFILE": 7, "RLIMIT_MEMLOCK": 8, "RLIMIT_AS": 9, "RLIMIT_LOCKS": 10, "RLIMIT_SIGPENDING": 11,
	"RLIMIT_MSGQUEUE": 12, "RLIMIT_NICE": 13, "RLIMIT_RTPRIO": 14, "RLIMIT_RTTIME": 15,
}

// capNames are CAP_* by their number.
var capNames = []string{
	"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "LINUX_IMMUTABLE",
	"NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT",
	"SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE",
	"AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ",
	"PERFMON", "BPF", "CHECKPOINT_RESTORE",
}
