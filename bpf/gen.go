// SPDX-License-Identifier: Apache-2.0

package bpf

// One object for each hook, for little-endian machines. The types come with
// the first: the headers are the same.
//
//go:generate sh c/generate.sh
