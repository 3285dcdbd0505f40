// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"foundry/datapath/agent/api"
)

func (a *app) endpoint() *cobra.Command {
	cmd := &cobra.Command{Use: "endpoint", Short: "Network namespaces in networks"}
	cmd.AddCommand(a.endpointAdd(), a.endpointDelete(), a.endpointList())
	return cmd
}

var modes = map[string]api.Mode{"tcx": api.Mode_MODE_TCX, "xdp": api.Mode_MODE_XDP}

func (a *app) endpointAdd() *cobra.Command {
	e := &api.Endpoint{}
	var mode string
	var routes []string
	cmd := &cobra.Command{
		Use: "add NAME --vni VNI --netns PATH --address ADDRESS/LENGTH", Short: "Put a network namespace into a network",
		Long: "Put a network namespace into a network: make a pair of devices with one end in there, and forward what it sends.\n" +
			"What is filled in (MAC, MTU, names of devices) is printed.",
		Example: "  foundry net endpoint add web --vni 100 --netns web --address 10.0.0.2/24",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: a.asking(func(ctx context.Context, g *agent, args []string) error {
			m, ok := modes[mode]
			if !ok {
				return fmt.Errorf("read command line: mode %q: not a mode (tcx, xdp)", mode)
			}
			e.Name, e.Mode = args[0], m
			if !strings.Contains(e.GetNetns(), "/") {
				e.Netns = "/run/netns/" + e.GetNetns()
			}
			for _, r := range routes {
				to, via, _ := strings.Cut(r, ",")
				e.Routes = append(e.Routes, &api.Route{Destination: to, Gateway: via})
			}
			resp, err := g.AddEndpoint(ctx, &api.AddEndpointRequest{Endpoint: e})
			if err != nil {
				return err
			}
			return a.printEndpoints([]*api.Endpoint{resp.GetEndpoint()})
		}),
	}
	f := cmd.Flags()
	f.Uint32Var(&e.Vni, "vni", 0, "the network")
	f.StringVar(&e.Netns, "netns", "", "the network namespace: a path, or a name below /run/netns")
	f.StringVar(&e.Ifname, "ifname", "", "name of the device in there (default eth0)")
	f.StringVar(&e.Mac, "mac", "", "its MAC (default made of VNI and first address)")
	f.StringArrayVar(&e.Addresses, "address", nil, "an address with its prefix length; may be repeated")
	f.Uint32Var(&e.Mtu, "mtu", 0, "of the device; 0 is the network's, or what the underlay carries")
	f.StringVar(&mode, "mode", "tcx", "tcx, or xdp for many small packets")
	f.StringArrayVar(&routes, "route", nil, "a route by the device, DESTINATION/LENGTH[,GATEWAY]; may be repeated")
	f.BoolVar(&e.Trusted, "trusted", false, "may send from any address")
	_ = cmd.MarkFlagRequired("vni")
	_ = cmd.MarkFlagRequired("netns")
	_ = cmd.RegisterFlagCompletionFunc("mode", cobra.FixedCompletions([]cobra.Completion{"tcx", "xdp"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("vni", a.completeNetworks)
	_ = cmd.RegisterFlagCompletionFunc("netns", completeNetns)
	return cmd
}

func (a *app) endpointDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete NAME...", Short: "Take network namespaces out of their networks", Args: cobra.MinimumNArgs(1), ValidArgsFunction: a.completeEndpoints,
		RunE: a.asking(func(ctx context.Context, g *agent, args []string) error {
			return each(args, func(name string) error {
				_, err := g.DeleteEndpoint(ctx, &api.DeleteEndpointRequest{Name: name})
				return err
			})
		}),
	}
}

func (a *app) endpointList() *cobra.Command {
	var vni uint32
	cmd := &cobra.Command{Use: "list", Short: "List endpoints", Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions}
	cmd.RunE = a.asking(func(ctx context.Context, g *agent, _ []string) error {
		req := &api.ListEndpointsRequest{}
		if cmd.Flags().Changed("vni") {
			req.Vni = &vni
		}
		list, err := g.ListEndpoints(ctx, req)
		if err != nil {
			return err
		}
		return a.printEndpoints(list.GetEndpoints())
	})
	cmd.Flags().Uint32Var(&vni, "vni", 0, "only those of this network")
	_ = cmd.RegisterFlagCompletionFunc("vni", a.completeNetworks)
	return cmd
}

// endpointRow is a line of `net endpoint list -o json`.
type endpointRow struct {
	Name       string   `json:"name"`
	VNI        uint32   `json:"vni"`
	NetNS      string   `json:"netns"`
	Ifname     string   `json:"ifname"`
	MAC        string   `json:"mac"`
	Addresses  []string `json:"addresses"`
	MTU        uint32   `json:"mtu"`
	Mode       string   `json:"mode"`
	Trusted    bool     `json:"trusted"`
	Ifindex    uint32   `json:"ifindex"`
	HostIfname string   `json:"host_ifname"`
	Problem    string   `json:"problem,omitempty"`
}

func (a *app) printEndpoints(list []*api.Endpoint) error {
	objects := make([]endpointRow, 0, len(list))
	var rows [][]string
	for _, e := range list {
		r := endpointRow{
			e.GetName(), e.GetVni(), e.GetNetns(), e.GetIfname(), e.GetMac(), append([]string{}, e.GetAddresses()...), e.GetMtu(), modeName(e.GetMode()),
			e.GetTrusted(), e.GetIfindex(), e.GetHostIfname(), e.GetProblem(),
		}
		objects = append(objects, r)
		rows = append(rows, []string{r.Name, decimal(r.VNI), addresses(r.Addresses), r.MAC, decimal(r.MTU), r.Mode, r.HostIfname, r.NetNS, r.Problem})
	}
	return a.print(objects, []string{"NAME", "VNI", "ADDRESSES", "MAC", "MTU", "MODE", "DEVICE", "NETNS"}, rows)
}

func modeName(m api.Mode) string {
	if m == api.Mode_MODE_XDP {
		return "xdp"
	}
	return "tcx"
}

func addresses(list []string) string {
	var there []string
	for _, s := range list {
		if s != "" {
			there = append(there, s)
		}
	}
	return dash(strings.Join(there, ","))
}

// completing offers what list finds; a shell has no use for an error.
func (a *app) completing(list func(context.Context, *agent) []cobra.Completion) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, _ string) (all []cobra.Completion, _ cobra.ShellCompDirective) {
		_ = a.asking(func(ctx context.Context, g *agent, _ []string) error {
			all = list(ctx, g)
			return nil
		})(cmd, nil)
		return all, cobra.ShellCompDirectiveNoFileComp
	}
}

func (a *app) completeEndpoints(cmd *cobra.Command, args []string, begin string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return a.completing(func(ctx context.Context, g *agent) (names []cobra.Completion) {
		list, _ := g.ListEndpoints(ctx, &api.ListEndpointsRequest{})
		for _, e := range list.GetEndpoints() {
			names = append(names, e.GetName())
		}
		return names
	})(cmd, args, begin)
}

func (a *app) completeNetworks(cmd *cobra.Command, args []string, begin string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return a.completing(func(ctx context.Context, g *agent) (names []cobra.Completion) {
		list, _ := g.ListNetworks(ctx, &api.ListNetworksRequest{})
		for _, n := range list.GetNetworks() {
			names = append(names, decimal(n.GetVni()))
		}
		return names
	})(cmd, args, begin)
}

func (a *app) completeVTEPs(cmd *cobra.Command, args []string, begin string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return a.completing(func(ctx context.Context, g *agent) (names []cobra.Completion) {
		list, _ := g.ListVTEPs(ctx, &api.ListVTEPsRequest{})
		for _, v := range list.GetVteps() {
			names = append(names, v.GetAddress())
		}
		return names
	})(cmd, args, begin)
}

func completeNetns(*cobra.Command, []string, string) (names []cobra.Completion, _ cobra.ShellCompDirective) {
	files, _ := os.ReadDir("/run/netns")
	for _, f := range files {
		names = append(names, f.Name())
	}
	return names, cobra.ShellCompDirectiveDefault
}
