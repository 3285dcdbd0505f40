// SPDX-License-Identifier: Apache-2.0

// The Go runtime reads mountinfo at start to find a CPU limit. That is a line
// for each mount of each container, and the launcher has one thread to run.
//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0

package main

import "syscall"

func main() {
	argv, err := commandLine()
	if err == nil {
		err = run(argv)
	}
	if err != nil {
		// containerd reads stdout and stderr as one text and shows it to the
		// user as the reason, so this line is all there is to say.
		writeAll(2, []byte("containerd-shim-foundry-v1: "+err.Error()+"\n"))
		syscall.Exit(1)
	}
	syscall.Exit(0)
}

func run(argv []string) error {
	a, err := parseArgs(argv)
	if err != nil {
		return err
	}
	switch {
	case a.version:
		return become("foundryd", []string{"version"})
	case a.info:
		return become("foundryd", []string{"info"})
	case a.action == "start":
		return start(a)
	case a.action == "delete":
		return remove(a)
	}
	return &failure{verb: "read", object: "command line", cause: "no action " + quote(a.action),
		remedy: "containerd calls this program with start or delete; -v and -info are for people"}
}

// commandLine reads the arguments from proc, because package os, which has
// them, costs a tenth of the launcher's whole life.
func commandLine() ([]string, error) {
	b, err := readFile("/proc/self/cmdline")
	if err != nil {
		return nil, err
	}
	var argv []string
	for len(b) > 0 {
		n := 0
		for n < len(b) && b[n] != 0 {
			n++
		}
		argv = append(argv, string(b[:n]))
		b = b[min(n+1, len(b)):]
	}
	if len(argv) == 0 {
		return nil, &failure{verb: "read", object: "command line", cause: "it is empty"}
	}
	return argv[1:], nil
}
