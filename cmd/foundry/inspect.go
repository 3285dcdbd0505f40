// SPDX-License-Identifier: Apache-2.0

package main

import (
	"github.com/spf13/cobra"

	"foundry/shim/view"
)

func (a *app) inspect() *cobra.Command {
	return &cobra.Command{
		Use: "inspect ID", Short: "Print all that the server knows of a container, as JSON",
		Long: "Print all that the server knows of a container, as JSON: its processes and their streams, what it uses,\n" +
			"and under \"owned\" what exists on the host for it and goes with it: cgroups, processes, the server's\n" +
			"descriptors, its journal, and what deleting it will undo.\n\n" +
			"ID is an id, the beginning of one, or NAMESPACE/ID.",
		Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeIDs(false),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := a.container(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			var v view.Inspect
			if err := n.in.get(cmd.Context(), n.path(view.Containers), &v); err != nil {
				return err
			}
			return a.printJSON(v)
		},
	}
}
