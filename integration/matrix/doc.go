// SPDX-License-Identifier: Apache-2.0

// Package matrix runs the same specs by runc and by Foundry and demands that
// the program in the container sees the same.
//
// A generator makes rows, each a spec: some with one particular thing, some
// with many (the seed is the row's number, so a row stays what it is). `runc
// run` executes a row's bundle, `runc exec` its further process where it has
// one; Foundry gets both at its task API, without containerd. The program is a shell script, the probe, that prints what a
// process can know about itself: ids, capabilities, limits, environment,
// namespaces, mounts, devices, cgroups. What cannot be the same (numbers of
// mounts and namespaces, paths of the bundles) is replaced before the texts are
// compared line by line.
//
// Where Foundry differs on purpose, or runc is known to be of another mind, the
// table in known_test.go has the lines and the reason. An entry that no row
// needs fails the test: it is out of date.
//
// It has tests only and outlives nothing. As root, with runc on the PATH:
//
//	go test ./integration/matrix
//	go test ./integration/matrix -run 'TestMatrix/mount-012' -v
package matrix
