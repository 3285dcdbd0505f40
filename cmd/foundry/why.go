// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"foundry/shim/view"
)

func (a *app) why() *cobra.Command {
	return &cobra.Command{
		Use: "why ID", Short: "Print what happened to a container, also for an hour after it is gone",
		Long: "Print the flight record of a container: its last events with their times, the parts of its creation with\n" +
			"what they took, errors with the output of hooks, and in a sentence why it ended. The server keeps it for\n" +
			"an hour after the container is gone, or until it is replaced.\n\n" +
			"ID is an id, the beginning of one, or NAMESPACE/ID.",
		Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeIDs(true),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := a.record(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			var f view.Flight
			if err := n.in.get(cmd.Context(), n.path(view.Flights), &f); err != nil {
				return err
			}
			if a.output == "json" {
				return a.printJSON(f)
			}
			return a.printFlight(f)
		},
	}
}

func (a *app) printFlight(f view.Flight) error {
	state := ""
	if f.Gone != nil {
		state = ", gone since " + f.Gone.Format("15:04:05")
	}
	fmt.Fprintf(a.out, "%s/%s%s: %s\n\n", f.Namespace, f.ID, state, plain(f.Cause))
	var rows [][]string
	for i, e := range f.Events {
		since := ""
		if i > 0 {
			since = "+" + took(max(e.At.Sub(f.Events[i-1].At), 1))
		}
		rows = append(rows, []string{e.At.Format("15:04:05.000"), since, process(e), what(e), took(e.Took), detail(e)})
	}
	if err := table(a.out, []string{"TIME", "AFTER", "PROCESS", "WHAT", "TOOK", ""}, rows); err != nil {
		return err
	}
	if f.Dropped > 0 {
		fmt.Fprintf(a.out, "\n%d events were older than what is kept\n", f.Dropped)
	}
	return nil
}

// what indents the parts of a call below it.
func what(e view.Event) string {
	if phase, ok := strings.CutPrefix(e.What, view.Phase); ok {
		return "  " + phase
	}
	return e.What
}

func process(e view.Event) string {
	if e.Process == "" {
		return "init"
	}
	return e.Process
}

// detail is all of an event that has no column.
func detail(e view.Event) string {
	var words []string
	if e.Pid != 0 {
		words = append(words, "pid "+strconv.Itoa(e.Pid))
	}
	if e.What == view.Exited {
		words = append(words, "status "+strconv.Itoa(e.Status))
	}
	if e.Signal != 0 {
		words = append(words, syscall.Signal(e.Signal).String())
	}
	if e.Detail != "" {
		words = append(words, strings.Join(strings.Fields(e.Detail), " "))
	}
	return strings.Join(words, ", ")
}
