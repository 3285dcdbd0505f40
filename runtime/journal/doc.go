// SPDX-License-Identifier: Apache-2.0

// Package journal keeps what was begun for one container, so that whoever
// comes next can undo it: the server itself when a step fails, or the delete
// program when the server and the spawner are dead.
//
// A journal is one append-only file of JSON lines, DIR/c/NAMESPACE/ID/journal.
// An entry is written before the effect that it announces, so the file may
// name things that do not exist, but never miss one that does; undoing what is
// absent is success. The last line may be torn by a kill and is then ignored:
// its effect did not begin. Nothing is synced to the disk: the directory is on
// a tmpfs, and what the journal speaks of does not outlive a reboot either.
//
// The file is locked (flock) for as long as a Journal is open: the server holds
// it for the life of the container, delete gets it when the server has died or
// never knew the container. The file outlives every process; [Journal.Remove]
// is the last act of a container's deletion.
//
//	j, err := journal.Create(journal.Dir(root, "default", "web-1"))
//	...
//	err = j.Append(journal.Entry{Kind: journal.Cgroup, Path: "/default/web-1"})
//	// make the cgroup
package journal
