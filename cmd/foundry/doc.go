// SPDX-License-Identifier: Apache-2.0

// Command foundry is the operator's view of running servers. It is a thin
// client: it asks the debug sockets of the instances below /run/foundry (or
// FOUNDRY_ROOT) and prints what they say (package shim/view), as a table or as
// JSON. Only `check` looks at the machine itself, and needs no server.
//
//	foundry ps                    what runs, in all instances
//	foundry top -n 3              live
//	foundry stats web-1           all figures, once
//	foundry inspect web-1         all that the server knows, as JSON
//	foundry why web-1             its last events, and why it ended
//	foundry check                 what this kernel and host lack, and what that means
//	foundry debug pprof heap      the server itself: profiles, goroutines, log
//
// Exit status: 0, or 1 with an error of one line; `check` has its own.
package main

//go:generate go run -tags man . man ../../dist/man
