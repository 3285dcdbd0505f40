// SPDX-License-Identifier: Apache-2.0

package main

import (
	"flag"
	"fmt"
	"os"
)

// flags are the command line of every subcommand; the launcher passes on what
// containerd gave it.
type flags struct {
	root    string // the instance's directory
	socket  string // where the task API is served
	address string // containerd's gRPC socket
	ttrpc   string // containerd's ttrpc socket, for events
	publish string // containerd's binary; kept for the record
	gen     string // generation of the spawner, from boot to serve
	debug   bool
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "foundryd:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	verb := ""
	if len(args) > 0 {
		verb, args = args[0], args[1:]
	}
	if verb == "delete" {
		return remove(args)
	}
	f, err := parse(verb, args)
	if err != nil {
		return err
	}
	switch verb {
	case "boot":
		return boot(f)
	case "serve":
		return serve(f)
	case "agent":
		return agentAlone(f)
	case "info":
		return info(os.Stdin, os.Stdout)
	case "version":
		return version(os.Stdout)
	}
	return fmt.Errorf("read command line: no subcommand %q (boot, serve, agent, delete, info, version)", verb)
}

func parse(verb string, args []string) (*flags, error) {
	f := &flags{}
	set := flag.NewFlagSet(verb, flag.ContinueOnError)
	set.StringVar(&f.root, "root", "", "directory of the instance")
	set.StringVar(&f.socket, "socket", "", "path of the task socket")
	set.StringVar(&f.address, "address", "", "containerd's gRPC address")
	set.StringVar(&f.ttrpc, "ttrpc", "", "containerd's ttrpc address")
	set.StringVar(&f.publish, "publish", "", "containerd's binary")
	set.StringVar(&f.gen, "generation", "", "start time of the spawner")
	set.BoolVar(&f.debug, "debug", false, "log more")
	if err := set.Parse(args); err != nil {
		return nil, fmt.Errorf("read command line: %w", err)
	}
	return f, nil
}
