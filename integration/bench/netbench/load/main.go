// SPDX-License-Identifier: Apache-2.0

// Command load makes the traffic of the network benchmark, and takes it:
//
//	load serve 10.0.0.2
//	load stream 10.0.0.2 -flows 8
//
// The first runs in one container, says "ready" and ends with its standard
// input; the second in another, and prints what was measured as JSON. It is the same for every way between the two.
// Sockets block and each has a thread, as in a program in C: the poller of Go
// would cost more than what is measured.
//
//	stream   TCP, one direction; counted where it arrives
//	rr       a byte there and a byte back on one connection
//	crr      connect, a byte there and back, close
//	udp      the smallest Ethernet frames, as fast as they go; counted where they arrive
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"time"
)

// Ports are from here on, in the order of the list.
const (
	portControl = 5300 + iota
	portStream
	portRR
	portCRR
	portUDP
)

// Result is what a client prints.
type Result struct {
	Seconds float64 // of the window
	Bits    float64 // that arrived in it
	Count   float64 // of transactions or datagrams
	CPU     float64 // seconds that the processors were busy, all of the machine's
	P50     float64 // of a transaction, in microseconds
	P99     float64
}

// job is what a client is to do.
type job struct {
	to         netip.Addr
	flows      int
	warm, long time.Duration
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 2 {
		return errors.New("usage: load serve|stream|rr|crr|udp ADDRESS [-flows N] [-warm D] [-for D]")
	}
	// A thread that waits in a system call keeps its turn to run Go when there is one for each.
	runtime.GOMAXPROCS(64)
	to, err := netip.ParseAddr(args[1])
	if err != nil {
		return err
	}
	if args[0] == "serve" {
		return serve(to)
	}
	j := job{to: to}
	flags := flag.NewFlagSet("load", flag.ContinueOnError)
	flags.IntVar(&j.flows, "flows", 1, "connections at once (stream)")
	flags.DurationVar(&j.warm, "warm", 100*time.Millisecond, "before the window")
	flags.DurationVar(&j.long, "for", time.Second, "the window")
	if err := flags.Parse(args[2:]); err != nil {
		return err
	}
	clients := map[string]func(job) (Result, error){"stream": stream, "rr": rr, "crr": crr, "udp": udp}
	client := clients[args[0]]
	if client == nil {
		return fmt.Errorf("what is %q", args[0])
	}
	r, err := client(j)
	if err != nil {
		return fmt.Errorf("%s to %v: %w", args[0], to, err)
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}
