// SPDX-License-Identifier: Apache-2.0

package plan

// Op names what a step does. The numbers are part of the wire format that
// runtime/spawn hands to the stage (runtime/spawn/c/wire.h has the same list;
// a test there compares them). Never renumber; append.
type Op uint16

// The operands of each op, by field of [Step]. "in root" means: resolved with
// openat2(RESOLVE_IN_ROOT) below the container's root, so that no symbolic
// link of the image can lead outside; "host" means an absolute path as the
// server sees it. Before OpRoot, in a process that joined a container, the root
// is the one of its mount namespace. Missing mount points, and directories on
// the way to them, to nodes and to links, are made: 0755, or a file where the
// source of a bind is none; a tmpfs without a mode takes that of a directory
// that was there.
const (
	OpEnd           Op = iota // never encoded
	OpSetns                   // FD namespace or pidfd; A CLONE_NEW* mask
	OpUnshare                 // A CLONE_NEW* mask
	OpFork                    // second clone with CLONE_PARENT; the intermediate exits
	OpCgroup1                 // FD a v1 tasks file: write "0" (moves the single-threaded caller without the threadgroup lock)
	OpOOMScore                // A value (signed) for /proc/self/oom_score_adj
	OpKeyring                 // S0 name of a new session keyring
	OpSetsid                  // new session
	OpDup                     // FD becomes descriptor number A (0, 1, 2; a helper's go on from 3)
	OpNull                    // descriptor number A becomes /dev/null of the host
	OpTTY                     // pty from in-root dev/pts/ptmx: slave becomes 0, 1, 2 and the controlling terminal; A uid<<32|gid of the slave, B rows<<16|cols; FlagConsole: bind the slave on in-root /dev/console
	OpPropagate               // mount(NULL, "/", NULL, A)
	OpMountHost               // mount(2): S0 type, S1 source, S2 host target, S3 data; A MS_* flags. Only for the mounts of a Create request. The stage splits a bind with further flags into two calls and shortens lowerdir lists beyond a page. FlagLoop: S1 is a regular file, mounted through a loop device that goes away with the mount
	OpRoot                    // S2 host path of the root: opened, bound onto itself (rec), its parent mount made private
	OpMount                   // FlagCopyUp: what the directory held before is copied into the tmpfs; fsopen S0, source S1, target in root S2, options S3 (NUL separated, key or key=value; also the superblock's own: ro, sync, dirsync, lazytime, mand); A MOUNT_ATTR_* set; C propagation MS_* or 0
	OpBind                    // open_tree clone of host source S1 (or FD; FlagSource: FD is the number of an OpSource) onto in-root S2; A attr set, B attr cleared, C propagation; FlagRec: recursive clone; FlagAttrRec: attributes recursively
	OpMknod                   // in-root S2; A mode with type, B dev_t as makedev(3) gives, C uid<<32|gid; FlagBindDev: bind host S1 instead when mknod is refused
	OpSymlink                 // S0 target, in-root S2; an existing file is left
	OpPivot                   // pivot_root into the root and detach the old one; A 1: MS_MOVE and chroot instead
	OpMask                    // in-root S2: /dev/null over a file, an empty read-only tmpfs over a directory; absent is success
	OpReadonly                // in-root S2: bind onto itself and make read-only, recursively; absent is success
	OpRootReadonly            // the root mount becomes read-only
	OpRootPropagate           // mount(NULL, "/", NULL, A) after the pivot
	OpSysctl                  // S0 path below /proc/sys (slashes), S1 value
	OpHostname                // S0
	OpDomainname              // S0
	OpLoopback                // bring up "lo" of the current network namespace
	OpRlimit                  // A resource number, B soft, C hard
	OpUmask                   // A
	OpChdir                   // S0; FlagMkdir: create it (0755) when absent
	OpUser                    // A uid, B gid, S0 supplementary groups as little-endian uint32s; pipes and terminals on 0, 1, 2 become the user's
	OpBound                   // A capability mask that stays in the bounding set
	OpCaps                    // A effective, B permitted, C inheritable, S0 ambient mask as one little-endian uint64
	OpKeepCaps                // PR_SET_KEEPCAPS for the following OpUser
	OpNoNewPrivs              // PR_SET_NO_NEW_PRIVS
	OpSeccomp                 // S0 array of struct sock_filter; A SECCOMP_FILTER_FLAG_* for seccomp(2); FlagListener: sync point 'N' first, then a listener, whose number is in the slot until the server let it go on (the stage waits without a system call)
	OpLookup                  // S0 file, S1 the PATH variable's value: resolve the program as execvpe would and keep it for OpExec; FlagHome: A is the uid
	OpHooks                   // sync point 'H' (A kind of hook, see HookCreateRuntime): the server runs hooks, then lets the stage go on
	OpReady                   // sync point 'R': created; waits for Start
	OpExec                    // S0 argv, S1 environment (both NUL separated); the program is what OpLookup found; FlagInit: pid 1 stays as a reaper
	OpExecHost                // hooks and loggers: S0 argv, S1 environment, S2 absolute host path
	OpMkdir                   // in-root S2, A mode
	OpMapUsers                // makes a user namespace and maps it: S0 text for uid_map, S1 for gid_map (lines "inside outside count"), written from outside of it
	OpRootUser                // becomes uid and gid 0, without further groups, of a user namespace that was made or joined; skipped where 0 is not mapped
	OpTime                    // after OpUnshare of a time namespace: S0 lines for /proc/self/timens_offsets ("monotonic 10 0"), then enters it
	OpSource                  // before a user namespace is entered (what the host's mounts have set is locked then), or before OpPropagate cuts ties to the host: keeps as source number A (0-63) a detached open_tree clone of host path S1; FlagRec: recursive; idmapped by S0 uid map and S3 gid map (as OpMapUsers) or by the user namespace FD, FlagAttrRec: recursively
	OpIdmapHost               // open_tree clone of host path S1 (FlagRec), idmapped by S0 and S3, attributes A, attached on host path S2 (may be S1); before a user namespace is entered
	OpUnmountHost             // host path S2: detached
	OpRemount                 // the mount at in-root S2: A attr set, B cleared (FlagAttrRec: recursively); S3 options of its superblock, as OpMount, none: it is left alone
	OpScheduler               // S0 struct sched_attr for sched_setattr(2)
	OpIOPriority              // A for ioprio_set(2) of the process
	OpPersonality             // A for personality(2)
	OpAffinity                // S0 CPU mask, little-endian, for sched_setaffinity(2)
	OpMemPolicy               // A mode and MPOL_F_* for set_mempolicy(2), S0 node mask, little-endian, B its number of bits
	OpLabel                   // S1 written to S0 below /proc/self ("attr/apparmor/exec", "attr/exec"): LSM labels
	OpCount                   // number of ops, never encoded
)

// Flags of a [Step].
const (
	FlagRec      uint16 = 1 << iota // OpBind: recursive
	FlagAttrRec                     // OpBind, OpMount: attributes recursively
	FlagConsole                     // OpTTY
	FlagBindDev                     // OpMknod
	FlagMkdir                       // OpChdir
	FlagInit                        // OpExec
	FlagOptional                    // a failure of this step is ignored
	FlagHome                        // OpLookup: OpExec's HOME is what the container's /etc/passwd says of user A
	FlagSource                      // OpBind: FD is the number of an OpSource
	FlagCopyUp                      // OpMount of a tmpfs
	FlagListener                    // OpSeccomp
	FlagLoop                        // OpMountHost, OpMount
	FlagStay                        // OpExec with FlagInit: pid 1 ends with the last process, not with the program
)

// Kinds of OpHooks.
const (
	HookCreateRuntime   uint64 = 1 // prestart and createRuntime, in the runtime namespace before pivot_root
	HookCreateContainer uint64 = 2 // in the container's namespaces before pivot_root
	HookStartContainer  uint64 = 3 // in the container's namespaces after Start, before the program
)

// Step is one thing that the stage does. What the fields mean depends on Op.
// FD and the other descriptor operands are indexes into [Plan.Files], -1 for
// none. Strings hold no NUL except the lists that say so.
type Step struct {
	Op      Op
	Flags   uint16
	FD      int
	A, B, C uint64
	S       [4]string
}

// FileKind says what a descriptor of the plan is; who executes the plan opens it.
type FileKind uint8

// Kinds of [File].
const (
	FileStdin     FileKind = iota + 1 // child's end, made by shim/stdio
	FileStdout                        //
	FileStderr                        //
	FileNamespace                     // Path of a namespace file, NSType its CLONE_NEW* bit
	FileCgroup1                       // tasks file of v1 hierarchy number N of the container's cgroup
	FileTarget                        // pidfd of the container's init (exec)
	FileExtra                         // descriptor 3+N of a helper
)

// File is a descriptor that a plan needs.
type File struct {
	Kind   FileKind
	Path   string
	NSType uint64
	N      int
}

// Plan is what the spawner and the stage do to make one process. It is a
// value: made by New and NewExec without touching the system, printed by
// String, encoded by runtime/spawn.
type Plan struct {
	// Clone has the CLONE_NEWUSER and CLONE_NEWPID bits that clone3 itself
	// makes; the stage unshares everything else.
	Clone uint64
	Files []File
	Steps []Step
}
