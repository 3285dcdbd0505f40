// SPDX-License-Identifier: Apache-2.0

// Command mkimage writes the tests' busybox image, for `ctr images import`:
//
//	mkimage busybox.tar docker.io/library/busybox:latest
package main

import (
	"errors"
	"fmt"
	"os"

	"foundry/integration/env"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: mkimage FILE REFERENCE")
		os.Exit(64)
	}
	f, err := os.Create(os.Args[1])
	if err == nil {
		err = errors.Join(env.BusyboxImage(f, os.Args[2]), f.Close())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "mkimage:", err)
		os.Exit(1)
	}
}
