// SPDX-License-Identifier: Apache-2.0

// Package integration tells stories about containers on a real containerd and
// a real kernel, from the side of a client. The stories know nothing of Foundry
// but its runtime name, so they hold for runc's shim too:
//
//	FOUNDRY_TEST_RUNTIME=io.containerd.runc.v2 go test ./integration
//
// Its directories: env has the test helpers, net the stories about frames,
// bench the benchmarks, clientsuite containerd's own suite, tally the summary
// of a run.
package integration
