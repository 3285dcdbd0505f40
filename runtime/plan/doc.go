// SPDX-License-Identifier: Apache-2.0

// Package plan turns what a container shall be into the list of steps that
// make it.
//
// Package runtime calls [New] for a container, [NewExec] for a further process
// in it and [NewHelper] for a hook or logger, and hands the [Plan] to package
// runtime/spawn, whose stage executes it step by step. All three are pure: the
// same arguments give the same plan, nothing is read from the system, and what
// must be known of it comes in as [Facts]. [Plan.String] prints a line for
// each step; the files in testdata are such texts, and a change of them is
// what a reviewer reads.
//
// A plan is a value. Nobody keeps it after the process was cloned.
//
//	p, err := plan.New(spec, plan.Facts{ID: "web", Bundle: bundle, Rootfs: bundle + "/rootfs", LastCap: 40})
//	fmt.Print(p)
//	// clone pid
//	// unshare mount,uts,ipc,net
//	// ...
//
// # Order
//
// The stage runs the steps of an init in this order, for these reasons:
//
//	cgroup1             first, so that all that follows is accounted, and a new cgroup namespace has its root there
//	setns, fork         a joined pid namespace holds for children only, so that all else happens in the child
//	setns, unshare      the other namespaces; time offsets before the first entry into a time namespace
//	loopback, oom-score, keyring, setsid, dup, hostname
//	propagate           before the first mount, so that none reaches the host
//	mount-host          the root file system of the Create request
//	source              of bind mounts with other owners: a map takes the host's rights
//	root, mounts, devices
//	hooks               createRuntime and createContainer, as runc: the container's mounts are there, the host's still too
//	sysctl              after the hooks, for those of a network device that a hook made
//	tty, pivot          the console is bound on a device directory that is complete
//	chdir               makes the directory, while the root may be written to
//	remount             a read-only /dev
//	readonly, mask
//	umask, chdir, rlimit, scheduling, no-new-privs, user, capabilities, label, lookup
//	ready               Create answers
//	hooks               startContainer
//	seccomp, exec
//
// Without no_new_privs, installing a filter takes CAP_SYS_ADMIN: then user and
// capabilities follow the filter, and that follows ready, because a filter may
// forbid what the wait for Start needs.
//
// # With a user namespace
//
// Nothing of the host can be reached from inside of one, so its plan has two
// halves. The first has the host's rights:
//
//	cgroup1, oom-score
//	setns               all namespaces with a path but the user namespace
//	unshare mount       a mount namespace of the host's, of which the container's own is a copy
//	propagate
//	idmap-host, mount-host, unmount-host
//	source              of every bind mount, as long as there are numbers for them
//
// The second is the container's:
//
//	map-users           or setns, of one that is joined
//	root-user           the number 0, which owns what is made from here on
//	unshare pid, fork   a new pid namespace is the user namespace's
//	unshare             the others, so that they are its too
//	time, loopback, keyring, setsid, dup, hostname
//	root, ...           as above
//
// An exec joins all of them in one call through the init's pidfd. docs/decisions
// has why the two ways differ.
//
// # Where runc differs
//
// The specs of testdata and some 150 variations of mounts and process
// attributes gave the same mountinfo, device nodes, status, limits and
// environment under runc, except where a difference is meant:
//
//	capabilities a wider set lacks   left out, as the specification wants; runc fails
//	bind,exec or bind,rw             clears that attribute alone; runc none or all, by version
//	tmpfs,rro                        read-only; runc ignores the word
//	an exec's umask and oom score    its own count; runc takes the container's
//	shared, rshared, unbindable      set again after the pivot, as runc does since 1.2
//	remount,ro or remount,rw         changes the mount; runc its file system too, which may be the host's
//	options of mount(8) alone        (nofail, _netdev, X-..., x-..., comment=) are left out; runc has the kernel refuse them
//	loop                             mounts a file through a loop device; runc has the kernel refuse it
//	sysctls in a namespace by path   refused when it is the host's, for every kind; runc looks at the network alone
//	a startContainer hook            is a process beside the init with what that will have, not the init itself
//
// As under runc, the tmpfs above v1 hierarchies stays writable when the cgroup
// mount is ro, and without a cgroup namespace a cgroup2 mount shows the host's
// whole tree.
//
// # HOME
//
// A process without HOME gets one, as under runc: what the container's
// /etc/passwd says, which the stage reads, and "/" for a user it does not name.
package plan
