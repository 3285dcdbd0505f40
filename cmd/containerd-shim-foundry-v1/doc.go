// SPDX-License-Identifier: Apache-2.0

// Command containerd-shim-foundry-v1 is the launcher: what containerd executes
// for each container, once to start it (`start`) and once when it is gone
// (`delete`). It lives for about a millisecond, so it imports next to nothing:
// package syscall and a varint reader of its own. Everything that needs more
// is done by the programs beside it on disk: foundryd, which lives long, and
// foundry-delete.
//
// `start` answers with the address of the one server of this containerd:
//
//	containerd --stdin: BootstrapParams--> launcher
//	    instance directory = hash(gRPC address, mount and network namespace)
//	    bundle/foundry     = that directory, for a later `delete`
//	    flock(lock, shared), connect(socket): it answers, nothing else to do
//	    else flock(lock, exclusive), look again, foundryd boot, wait for "ok"
//	containerd <--stdout: BootstrapResult-- launcher
//
// The server outlives the launcher, the bundle and containerd. It inherits
// nothing of its first caller but the oom score, and PATH.
//
// `delete` prints the exit that the server left in the bundle; if there is
// none, or no server, it becomes foundry-delete, which works from files.
//
// By hand, in a bundle directory:
//
//	containerd-shim-foundry-v1 -namespace default -id web-1 \
//	    -address /run/containerd/containerd.sock start </dev/null
//	{"version":2,"address":"unix:///run/foundry/6f…/task.sock","protocol":"ttrpc"}
package main
