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
	// SeccompListener is set when the filter asks a listener: the stage then
	// stops for the server to take it.
	SeccompListener bool

	// AppArmor is the file below /proc/self that takes the profile of the next
	// exec: "attr/apparmor/exec", or "attr/exec" on kernels before 5.8. Empty:
	// the host has no AppArmor.
	AppArmor string
	SELinux  bool // the host has SELinux

	// HostNamespaces is a CLONE_NEW* mask of those namespaces which the spec
	// gives by path and which are the server's own.
	HostNamespaces uint64

	LastCap int    // /proc/sys/kernel/cap_last_cap
	Caps    uint64 // mask of capabilities that can be granted here; 0: all up to LastCap
	KCore   bool   // the host has /proc/kcore

	NoPivotRoot, NoNewKeyring bool
	Hooks                     bool // prestart or createRuntime hooks exist
	CreateContainerHooks      bool // such hooks exist: the stage stops for them before pivot_root
	StartContainerHooks       bool // such hooks exist: the stage stops for them after Start
}
