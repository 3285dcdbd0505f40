// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"foundry/datapath/agent/api"
)

func (a *app) drops() *cobra.Command {
	req := &api.WatchDropsRequest{}
	var follow bool
	var vni uint32
	var count int
	cmd := &cobra.Command{
		Use: "drops", Short: "Print why frames were dropped, or which are, live",
		Long: "Print how many frames were dropped, and why. With --follow: the frames themselves, as they are dropped; of a\n" +
			"reason ten in a second on each processor are reported, and those between them counted. docs/network.md says\n" +
			"what the reasons mean.",
		Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if cmd.Flags().Changed("vni") {
			req.Vni = &vni
		}
		if follow {
			return a.following(func(ctx context.Context, g *agent, _ []string) error { return a.followDrops(ctx, g, req, count) })(cmd, args)
		}
		return a.asking(func(ctx context.Context, g *agent, _ []string) error { return a.countedDrops(ctx, g, req) })(cmd, args)
	}
	f := cmd.Flags()
	f.BoolVarP(&follow, "follow", "f", false, "print frames as they are dropped, until interrupted")
	f.StringVar(&req.Endpoint, "endpoint", "", "only what this endpoint sent")
	f.StringSliceVar(&req.Reasons, "reason", nil, "only these reasons")
	f.Uint32Var(&vni, "vni", 0, "only frames of this network; with --follow")
	f.IntVarP(&count, "count", "c", 0, "end after so many; with --follow")
	_ = cmd.RegisterFlagCompletionFunc("endpoint", a.completeEndpoints)
	_ = cmd.RegisterFlagCompletionFunc("vni", a.completeNetworks)
	return cmd
}

func (a *app) countedDrops(ctx context.Context, g *agent, req *api.WatchDropsRequest) error {
	reasons := map[string]bool{}
	for _, r := range req.GetReasons() {
		reasons[r] = true
	}
	return a.printCounters(ctx, g, &api.ListCountersRequest{Endpoint: req.GetEndpoint()}, func(c *api.Counter) bool {
		return c.GetAction() == "drop" && (len(reasons) == 0 || reasons[c.GetReason()])
	})
}

// dropRow is a line of `drops --follow -o json`.
type dropRow struct {
	Time       time.Time `json:"time"`
	Reason     string    `json:"reason"`
	Endpoint   string    `json:"endpoint,omitempty"`
	Ifindex    uint32    `json:"ifindex"`
	VNI        uint32    `json:"vni"`
	Length     uint32    `json:"length"`
	Suppressed uint32    `json:"suppressed,omitempty"`
	Line       uint32    `json:"line"`
	Frame      string    `json:"frame"`
	Head       string    `json:"head"` // hex
}

func (a *app) followDrops(ctx context.Context, g *agent, req *api.WatchDropsRequest, count int) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := g.WatchDrops(ctx, req)
	if err != nil {
		return err
	}
	const line = "%-12s  %-10s  %-16s  %-8s  %s\n"
	if a.output != "json" {
		fmt.Fprintf(a.out, line, "TIME", "ENDPOINT", "REASON", "VNI", "FRAME")
	}
	for n := 0; ; {
		part, err := stream.Recv()
		if err != nil {
			return err
		}
		if lost := part.GetLost(); lost > 0 {
			a.missing(lost, "drops")
		}
		for _, d := range part.GetDrops() {
			r := newDropRow(d)
			if a.output == "json" {
				if err := json.NewEncoder(a.out).Encode(r); err != nil {
					return fmt.Errorf("print: %w", err)
				}
			} else {
				more := ""
				if r.Suppressed > 0 {
					more = fmt.Sprintf(" (and %d before it)", r.Suppressed)
				}
				if _, err := fmt.Fprintf(a.out, line, r.Time.Format("15:04:05.000"), dash(plain(r.Endpoint)), plain(r.Reason), decimal(r.VNI), r.Frame+more); err != nil {
					return fmt.Errorf("print: %w", err)
				}
			}
			if n++; n == count {
				return nil
			}
		}
	}
}

// missing tells of what is not in what is printed.
func (a *app) missing(n uint64, what string) {
	if a.errs != nil {
		fmt.Fprintf(a.errs, "foundry: %d %s came faster than they were read\n", n, what)
	}
}

func newDropRow(d *api.Drop) dropRow {
	return dropRow{
		Time: d.GetTime().AsTime().Local(), Reason: d.GetReason(), Endpoint: d.GetEndpoint(), Ifindex: d.GetIfindex(), VNI: d.GetVni(),
		Length: d.GetLength(), Suppressed: d.GetSuppressed(), Line: d.GetLine(), Frame: frameText(d.GetHead(), d.GetLength()),
		Head: strings.ToLower(hex.EncodeToString(d.GetHead())),
	}
}
