// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"foundry/datapath/agent/api"
)

func (a *app) net() *cobra.Command {
	cmd := &cobra.Command{
		Use: "net", Short: "Networks, their endpoints and the underlay of the data plane",
		Long: "Networks, their endpoints and the underlay of the data plane.\n\n" +
			"A network is a VNI. An endpoint is a network namespace's device in it. The underlay is the device by which\n" +
			"frames go to other hosts (foundry vtep, foundry fdb). What is added stays until it is deleted: it survives\n" +
			"the server, which finds it again. To add the same twice, or to delete what is absent, is a success.",
	}
	cmd.AddCommand(a.netStatus(), a.netAdd(), a.netDelete(), a.netList(), a.endpoint(), a.underlay(), a.counters(), a.reconcile(), a.purge(), a.netWatch())
	return cmd
}

// number reads an argument.
func number(what, arg string) (uint32, error) {
	n, err := strconv.ParseUint(arg, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("read command line: %s %q: not a number", what, arg)
	}
	return uint32(n), nil
}

func (a *app) netAdd() *cobra.Command {
	var broadcast, replace bool
	n := &api.Network{Broadcast: &api.Broadcast{}}
	cmd := &cobra.Command{
		Use: "add VNI", Short: "Add a network", Args: cobra.ExactArgs(1), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: a.asking(func(ctx context.Context, g *agent, args []string) (err error) {
			if n.Vni, err = number("VNI", args[0]); err != nil {
				return err
			}
			if !broadcast && n.Broadcast.PerSecond == 0 && n.Broadcast.Burst == 0 {
				n.Broadcast = nil
			}
			_, err = g.AddNetwork(ctx, &api.AddNetworkRequest{Network: n, Replace: replace})
			return err
		}),
	}
	cmd.Flags().BoolVar(&broadcast, "broadcast", false, "copy frames for all to all (ARP and neighbour discovery are answered without)")
	cmd.Flags().Uint32Var(&n.Broadcast.PerSecond, "broadcast-rate", 0, "how many of one sender in a second; 0 is any number")
	cmd.Flags().Uint32Var(&n.Broadcast.Burst, "broadcast-burst", 0, "how many of one sender at once; 0 is one")
	cmd.Flags().Uint32Var(&n.Mtu, "mtu", 0, "of its endpoints; 0 is what the underlay carries")
	cmd.Flags().BoolVar(&replace, "replace", false, "change the one that there is")
	return cmd
}

func (a *app) netDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete VNI...", Short: "Delete networks; they must have no endpoints", Args: cobra.MinimumNArgs(1), ValidArgsFunction: a.completeNetworks,
		RunE: a.asking(func(ctx context.Context, g *agent, args []string) error {
			return each(args, func(arg string) error {
				vni, err := number("VNI", arg)
				if err == nil {
					_, err = g.DeleteNetwork(ctx, &api.DeleteNetworkRequest{Vni: vni})
				}
				return err
			})
		}),
	}
}

// networkRow is a line of `net list -o json`.
type networkRow struct {
	VNI       uint32 `json:"vni"`
	MTU       uint32 `json:"mtu,omitempty"`
	Broadcast bool   `json:"broadcast"`
	PerSecond uint32 `json:"broadcasts_per_second,omitempty"`
	Burst     uint32 `json:"broadcast_burst,omitempty"`
}

func (a *app) netList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List networks", Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: a.asking(func(ctx context.Context, g *agent, _ []string) error {
			list, err := g.ListNetworks(ctx, &api.ListNetworksRequest{})
			if err != nil {
				return err
			}
			objects := make([]networkRow, 0, len(list.GetNetworks()))
			var rows [][]string
			for _, n := range list.GetNetworks() {
				b := n.GetBroadcast()
				objects = append(objects, networkRow{n.GetVni(), n.GetMtu(), b != nil, b.GetPerSecond(), b.GetBurst()})
				rows = append(rows, []string{decimal(n.GetVni()), orAuto(n.GetMtu()), broadcasts(b)})
			}
			return a.print(objects, []string{"VNI", "MTU", "BROADCAST"}, rows)
		}),
	}
}

// print prints a list in the format that was asked for.
func (a *app) print(objects any, head []string, rows [][]string) error {
	if a.output == "json" {
		return a.printJSON(objects)
	}
	return table(a.out, head, rows)
}

func decimal[N uint32 | uint64](n N) string { return strconv.FormatUint(uint64(n), 10) }

func orAuto(n uint32) string {
	if n == 0 {
		return "auto"
	}
	return decimal(n)
}

func broadcasts(b *api.Broadcast) string {
	switch {
	case b == nil:
		return "off"
	case b.GetPerSecond() == 0:
		return "on"
	}
	return fmt.Sprintf("%d/s, burst %d", b.GetPerSecond(), max(b.GetBurst(), 1))
}

func (a *app) counters() *cobra.Command {
	return &cobra.Command{
		Use: "counters [ENDPOINT]", Short: "Print what happened to frames: of all endpoints and the uplink, or of one endpoint",
		Long: "Print what happened to the frames that endpoints sent (from) and were sent (to), and to those that came by the\n" +
			"uplink (-). docs/network.md says what the reasons mean.",
		Args: cobra.MaximumNArgs(1), ValidArgsFunction: a.completeEndpoints,
		RunE: a.asking(func(ctx context.Context, g *agent, args []string) error {
			req := &api.ListCountersRequest{}
			if len(args) > 0 {
				req.Endpoint = args[0]
			}
			return a.printCounters(ctx, g, req, func(*api.Counter) bool { return true })
		}),
	}
}

// counterRow is a line of `net counters -o json`.
type counterRow struct {
	Endpoint  string `json:"endpoint"`
	Direction string `json:"direction"`
	Action    string `json:"action"`
	Reason    string `json:"reason"`
	Packets   uint64 `json:"packets"`
	Bytes     uint64 `json:"bytes"`
}

func (a *app) printCounters(ctx context.Context, g *agent, req *api.ListCountersRequest, wanted func(*api.Counter) bool) error {
	list, err := g.ListCounters(ctx, req)
	if err != nil {
		return err
	}
	objects := []counterRow{}
	var rows [][]string
	for _, c := range list.GetCounters() {
		if !wanted(c) {
			continue
		}
		objects = append(objects, counterRow{c.GetEndpoint(), c.GetDirection(), c.GetAction(), c.GetReason(), c.GetPackets(), c.GetBytes()})
		rows = append(rows, []string{dash(c.GetEndpoint()), c.GetDirection(), c.GetAction(), c.GetReason(), decimal(c.GetPackets()), decimal(c.GetBytes())})
	}
	return a.print(objects, []string{"ENDPOINT", "DIRECTION", "ACTION", "REASON", "PACKETS", "BYTES"}, rows)
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func (a *app) reconcile() *cobra.Command {
	req := &api.ReconcileRequest{}
	cmd := &cobra.Command{
		Use: "reconcile", Short: "Make programs, maps and devices equal to what is recorded",
		Long: "Make programs, maps and devices equal to what is recorded, and print what had to be changed. The server does\n" +
			"so when it starts; there should be nothing to change.",
		Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: a.asking(func(ctx context.Context, g *agent, _ []string) error {
			resp, err := g.Reconcile(ctx, req)
			if err != nil {
				return err
			}
			objects := []map[string]any{}
			var rows [][]string
			for _, c := range resp.GetChanges() {
				objects = append(objects, map[string]any{"verb": c.GetVerb(), "what": c.GetWhat(), "key": c.GetKey(), "count": c.GetCount()})
				rows = append(rows, []string{c.GetVerb(), c.GetWhat(), c.GetKey(), decimal(c.GetCount())})
			}
			return a.print(objects, []string{"VERB", "WHAT", "KEY", "COUNT"}, rows)
		}),
	}
	cmd.Flags().BoolVar(&req.DryRun, "dry-run", false, "only print what would be changed")
	return cmd
}

func (a *app) purge() *cobra.Command {
	var sure bool
	cmd := &cobra.Command{
		Use: "purge --yes", Short: "Take the whole data plane away: endpoints, programs, maps and records",
		Long: "Take the whole data plane of an instance away: endpoints with their devices, programs, maps and records.\n" +
			"Nothing else does: a server that ends, or is replaced, leaves all of it, and frames go on being forwarded.",
		Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: a.asking(func(ctx context.Context, g *agent, _ []string) error {
			if !sure {
				return errors.New("purge data plane: containers lose their networks (say so with --yes)")
			}
			_, err := g.Purge(ctx, &api.PurgeRequest{})
			return err
		}),
	}
	cmd.Flags().BoolVar(&sure, "yes", false, "yes, all of it")
	return cmd
}
