// SPDX-License-Identifier: Apache-2.0

// Package store keeps the records of the data plane in a file, with the order
// in which they changed.
//
// A record is a kind, a key and bytes that only the caller reads. All changes
// of a call are made together or not at all. Each gets a revision, one more
// than the last; the newest changes are kept, a bounded number of them, so
// that somebody who has seen all up to a revision can ask for the rest after
// either side was restarted. Whoever asks too late is told so (ErrCompacted),
// and reads all records again.
//
// One process has the file at a time. On a memory file system nothing is
// synced: what the process wrote is there when it is killed, and what a crash
// of the machine takes is gone with the file. Elsewhere each call waits for
// the disk (docs/decisions/0014-network-control.md).
//
//	s, err := store.Open(store.Config{Path: "/run/foundry/ID/network"})
//	revision, err := s.Apply([]store.Change{{Kind: "network", Key: "100", Value: json}})
//	changes, err := s.Since(revision-1, 100)
package store
