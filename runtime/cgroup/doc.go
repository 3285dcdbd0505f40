// SPDX-License-Identifier: Apache-2.0

// Package cgroup makes, limits, watches, empties and removes one control
// group: a directory of the same name in every hierarchy of the host.
//
// The runtime calls it. [Host] is read once by a server and handed to
// everything else as a value. A [Group] is a handle without descriptors: it
// costs nothing to keep, it may be dropped at any time, and [Open] makes
// another one for the same directories, which is how a server that was
// restarted, or the delete command, finds what an earlier one made. The
// directories outlive every process of ours; only [Group.Remove] ends them.
//
// Three kinds of host are told apart. On cgroup v2 there is one tree. On
// cgroup v1 there is one tree for each controller, and the group is made in
// all of them. On a hybrid host the controllers are those of v1, and a v2 tree
// without controllers lies beside them: the group is made there too, so that
// cgroup.kill can be used when its processes were cloned into it.
//
//	info, err := cgroup.Host()
//	g, err := cgroup.Create(cgroup.Config{Info: info, Path: "/ns/web-1", Resources: spec.Linux.Resources})
//	defer g.Remove()
//	files, err := g.JoinFiles() // for the stage: it writes "0" to each of them
//	dir, err := g.Dir()         // for clone3(CLONE_INTO_CGROUP); nil on a pure v1 host
//
// A path like "slice:prefix:name" is a scope of systemd's, which makes the
// directories and removes them with the last process; scope.go has the order of
// events. Nothing else of the package talks to systemd.
//
// Limits are translated into (file, value) pairs by pure functions, which the
// tests compare with what github.com/opencontainers/cgroups (runc's library)
// does for the same resources. See docs/decisions/0003-cgroup-libraries.md.
package cgroup
