// SPDX-License-Identifier: Apache-2.0

package plan

// Mount is one mount of a Create request: where the root file system comes
// from.
type Mount struct {
	Type, Source string
	Target       string // below the root; empty: the root itself
	Options      []string
}

// CgroupFact is one v1 hierarchy of the host and the container's place in it.
type CgroupFact struct {
	Name        string   // of the directory, like "cpu,cpuacct" or "systemd"
	Controllers []string // its mount options, like "cpu" or "name=systemd"; empty: those that Name says
	Mountpoint  string   // on the host, like /sys/fs/cgroup/cpu
	Path        string   // of the container's group below Mountpoint
	CgroupFile  bool     // not needed here: every hierarchy is joined
}

// Facts are what a plan depends on beside the spec: the container's place on
// this host, and what the host is. The zero value of each field means that
// there is no such thing.
type Facts struct {
	ID             string // names the session keyring
	Bundle, Rootfs string // absolute; Rootfs is where the root will be
	RootfsMounts   []Mount

	// Cgroups has one entry for each v1 hierarchy. The n-th is FileCgroup1
	// with N = n. Empty on a host with v2 alone.
	Cgroups     []CgroupFact
	Unified     bool   // the host has v2 alone; the spawner clones into the group
	UnifiedPath string // host path of the container's group then

	Seccomp      []byte // array of struct sock_filter; nil: no filter
	SeccompFlags uint64 // SECCOMP_FILTER_FLAG_*

	LastCap int    // /proc/sys/kernel/cap_last_cap
	Caps    uint64 // mask of capabilities that can be granted here; 0: all up to LastCap
	KCore   bool   // the host has /proc/kcore

	NoPivotRoot, NoNewKeyring bool
	Hooks                     bool // prestart or createRuntime hooks exist
}

// Helper is a hook or a logger: a program of the host, run outside of any
// container.
type Helper struct {
	Path       string   // absolute
	Args       []string // argv; empty: Path alone
	Env        []string
	Dir        string // working directory; empty: "/"
	ExtraFiles int    // descriptors 3 and up, after standard input, output and error
}
