// SPDX-License-Identifier: Apache-2.0

// Command clientsuite runs containerd's own client integration suite against a
// runtime and compares the outcome with a list of what is allowed not to pass.
//
//	clientsuite -bin DIR -cache DIR [-runtime io.containerd.foundry.v1] [-expect FILE] [-run REGEXP]
//
// The suite wants images from public registries and fixed paths. Both are
// given to it without a network: its source is copied from the module cache
// and its image references are rewritten to a registry on loopback that this
// program serves from busybox, and everything runs in a mount and a network
// namespace of its own, with a fresh tmpfs over the paths it uses.
//
// The list of exceptions (expect/RUNTIME.txt) may only shrink: a test that is
// listed and passes fails the run as surely as one that is not listed and
// fails.
package main
