// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"

	"foundry/datapath/agent/api"
)

func (a *app) netWatch() *cobra.Command {
	req := &api.WatchRequest{}
	cmd := &cobra.Command{
		Use: "watch", Short: "Print what is added, changed and deleted, live",
		Long: "Print all that there is, then what is added, changed and deleted, a line of JSON each, until interrupted. With\n" +
			"--since REVISION: only what came after that, unless it is no longer known (reset).",
		Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: a.following(func(ctx context.Context, g *agent, _ []string) error {
			stream, err := g.Watch(ctx, req)
			if err != nil {
				return err
			}
			for {
				part, err := stream.Recv()
				if err != nil {
					return err
				}
				for _, e := range part.GetEvents() {
					if err := a.printEvent(e); err != nil {
						return err
					}
				}
			}
		}),
	}
	cmd.Flags().Uint64Var(&req.Since, "since", 0, "a revision")
	cmd.Flags().BoolVar(&req.NoFdb, "no-fdb", false, "without entries of the FDB")
	return cmd
}

// printEvent prints an event as protobuf's JSON has it: with the names of
// agent.proto.
func (a *app) printEvent(e *api.Event) error {
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(e)
	if err != nil {
		return fmt.Errorf("print: %w", err)
	}
	line, err := json.Marshal(json.RawMessage(text)) // protojson's spaces are not always the same
	if err == nil {
		_, err = fmt.Fprintf(a.out, "%s\n", line)
	}
	if err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}
