// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"foundry/datapath/agent/api"
)

var (
	encaps  = map[string]api.Encap{"auto": api.Encap_ENCAP_UNSPECIFIED, "bpf": api.Encap_ENCAP_BPF, "kernel": api.Encap_ENCAP_KERNEL}
	choices = map[string]api.Choice{"auto": api.Choice_CHOICE_UNSPECIFIED, "on": api.Choice_CHOICE_ON, "off": api.Choice_CHOICE_OFF}
)

// nameOf is the name of a value in one of these tables.
func nameOf[V comparable](names map[string]V, v V) string {
	for name, have := range names {
		if have == v {
			return name
		}
	}
	return fmt.Sprint(v)
}

func (a *app) underlay() *cobra.Command {
	cmd := &cobra.Command{Use: "underlay", Short: "The device by which frames go to other hosts"}
	cmd.AddCommand(a.underlaySet(), a.underlayClear(), a.underlayShow())
	return cmd
}

func (a *app) underlaySet() *cobra.Command {
	u := &api.Underlay{}
	var encap, xdp string
	cmd := &cobra.Command{
		Use: "set DEVICE", Short: "Choose the device, and this host's address as a VTEP",
		Long: "Choose the device by which frames go to other hosts, and this host's address as a VTEP (a tunnel's end).\n\n" +
			"How outer headers are made is chosen by a test at the start: by the program (bpf) where that works, else by the\n" +
			"kernel's vxlan device (kernel).",
		Example: "  foundry net underlay set eth0\n  foundry net underlay set eth0 --ipv4 192.0.2.1 --encap kernel",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: a.asking(func(ctx context.Context, g *agent, args []string) error {
			var known [2]bool
			u.Ifname = args[0]
			u.Encap, known[0] = encaps[encap]
			u.Xdp, known[1] = choices[xdp]
			if known != [2]bool{true, true} {
				return fmt.Errorf("read command line: encap %q (auto, bpf, kernel), xdp %q (auto, on, off)", encap, xdp)
			}
			resp, err := g.SetUnderlay(ctx, &api.SetUnderlayRequest{Underlay: u})
			if err != nil {
				return err
			}
			return a.printUnderlay(resp.GetUnderlay())
		}),
	}
	f := cmd.Flags()
	f.StringVar(&u.Ipv4, "ipv4", "", "this host's address as a VTEP (default the device's, unless --ipv6 is given)")
	f.StringVar(&u.Ipv6, "ipv6", "", "the same over IPv6")
	f.Uint32Var(&u.Port, "port", 0, "UDP port of VXLAN; 0 is 4789")
	f.StringVar(&encap, "encap", "auto", "who makes outer headers: auto, bpf or kernel")
	f.StringVar(&xdp, "xdp", "auto", "XDP on the device: auto (where its driver can), on or off")
	_ = cmd.RegisterFlagCompletionFunc("encap", cobra.FixedCompletions([]cobra.Completion{"auto", "bpf", "kernel"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("xdp", cobra.FixedCompletions([]cobra.Completion{"auto", "on", "off"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (a *app) underlayClear() *cobra.Command {
	return &cobra.Command{
		Use: "clear", Short: "Choose none: frames stay on this host", Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: a.asking(func(ctx context.Context, g *agent, _ []string) error {
			_, err := g.SetUnderlay(ctx, &api.SetUnderlayRequest{Underlay: &api.Underlay{}})
			return err
		}),
	}
}

func (a *app) underlayShow() *cobra.Command {
	return &cobra.Command{
		Use: "show", Short: "Print the device and what is used on it", Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: a.asking(func(ctx context.Context, g *agent, _ []string) error {
			resp, err := g.GetUnderlay(ctx, &api.GetUnderlayRequest{})
			if err != nil {
				return err
			}
			return a.printUnderlay(resp.GetUnderlay())
		}),
	}
}

// underlayRow is `net underlay show -o json`.
type underlayRow struct {
	Ifname    string `json:"ifname"`
	Ifindex   uint32 `json:"ifindex"`
	MAC       string `json:"mac"`
	MTU       uint32 `json:"mtu"`
	IPv4      string `json:"ipv4,omitempty"`
	IPv6      string `json:"ipv6,omitempty"`
	Port      uint32 `json:"port"`
	Encap     string `json:"encap"`
	EncapUsed string `json:"encap_used"`
	XDP       string `json:"xdp"`
	XDPUsed   bool   `json:"xdp_used"`
	NoXDP     string `json:"no_xdp,omitempty"`
	Problem   string `json:"problem,omitempty"`
}

func newUnderlayRow(u *api.Underlay) underlayRow {
	return underlayRow{
		Ifname: u.GetIfname(), Ifindex: u.GetIfindex(), MAC: u.GetMac(), MTU: u.GetMtu(), IPv4: u.GetIpv4(), IPv6: u.GetIpv6(), Port: u.GetPort(),
		Encap: nameOf(encaps, u.GetEncap()), EncapUsed: nameOf(encaps, u.GetEncapUsed()), XDP: nameOf(choices, u.GetXdp()), XDPUsed: u.GetXdpUsed(), NoXDP: u.GetNoXdp(), Problem: u.GetProblem(),
	}
}

func (a *app) printUnderlay(u *api.Underlay) error {
	r := newUnderlayRow(u)
	if a.output == "json" {
		return a.printJSON(r)
	}
	var rows [][]string
	if r.Ifname != "" {
		rows = [][]string{{r.Ifname, addresses([]string{r.IPv4, r.IPv6}), decimal(r.Port), r.MAC, decimal(r.MTU), r.EncapUsed, onOff(r.XDPUsed), r.Problem}}
	}
	return table(a.out, []string{"DEVICE", "ADDRESSES", "PORT", "MAC", "MTU", "ENCAP", "XDP"}, rows)
}
