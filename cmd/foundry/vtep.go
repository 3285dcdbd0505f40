// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"

	"github.com/spf13/cobra"

	"foundry/datapath/agent/api"
)

func (a *app) vtep() *cobra.Command {
	cmd := &cobra.Command{
		Use: "vtep", Short: "Other hosts: the ends of tunnels",
		Long: "Other hosts: the ends of tunnels. VXLAN is taken only from these. The next hop is found by the kernel's\n" +
			"routes and neighbours, and followed when it changes.",
	}
	cmd.AddCommand(a.vtepAdd(), a.vtepDelete(), a.vtepList())
	return cmd
}

func (a *app) vtepAdd() *cobra.Command {
	v := &api.VTEP{}
	var replace bool
	cmd := &cobra.Command{
		Use: "add ADDRESS", Short: "Add a VTEP", Args: cobra.ExactArgs(1), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: a.asking(func(ctx context.Context, g *agent, args []string) error {
			v.Address = args[0]
			_, err := g.AddVTEP(ctx, &api.AddVTEPRequest{Vtep: v, Replace: replace})
			return err
		}),
	}
	cmd.Flags().Uint32Var(&v.Mtu, "mtu", 0, "of the path; 0 is the underlay's")
	cmd.Flags().BoolVar(&v.Down, "down", false, "drop frames for it")
	cmd.Flags().BoolVar(&replace, "replace", false, "change the one that there is")
	return cmd
}

func (a *app) vtepDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete ADDRESS...", Short: "Delete VTEPs; nobody may be behind them", Args: cobra.MinimumNArgs(1), ValidArgsFunction: a.completeVTEPs,
		RunE: a.asking(func(ctx context.Context, g *agent, args []string) error {
			return each(args, func(address string) error {
				_, err := g.DeleteVTEP(ctx, &api.DeleteVTEPRequest{Address: address})
				return err
			})
		}),
	}
}

// vtepRow is a line of `vtep list -o json`.
type vtepRow struct {
	Address string `json:"address"`
	MTU     uint32 `json:"mtu,omitempty"`
	PathMTU uint32 `json:"path_mtu"`
	State   string `json:"state"`
	NextHop string `json:"next_hop,omitempty"`
}

func (a *app) vtepList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List VTEPs", Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: a.asking(func(ctx context.Context, g *agent, _ []string) error {
			list, err := g.ListVTEPs(ctx, &api.ListVTEPsRequest{})
			if err != nil {
				return err
			}
			objects := make([]vtepRow, 0, len(list.GetVteps()))
			var rows [][]string
			for _, v := range list.GetVteps() {
				r := vtepRow{v.GetAddress(), v.GetMtu(), v.GetPathMtu(), vtepState(v), v.GetNextHop()}
				objects = append(objects, r)
				rows = append(rows, []string{r.Address, r.State, dash(r.NextHop), orAuto(r.MTU), decimal(r.PathMTU)})
			}
			return a.print(objects, []string{"ADDRESS", "STATE", "NEXT HOP", "MTU", "PATH MTU"}, rows)
		}),
	}
}

// vtepState is up, down, or stale: the kernel looks for the next hop.
func vtepState(v *api.VTEP) string {
	switch {
	case v.GetDown():
		return "down"
	case v.GetStale():
		return "stale"
	}
	return "up"
}
