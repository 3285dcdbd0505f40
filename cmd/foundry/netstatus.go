// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"foundry/datapath/agent/api"
)

// netStatusDoc is `net status -o json`.
type netStatusDoc struct {
	Instance     string          `json:"instance"`
	BPFFS        string          `json:"bpffs"`
	Store        string          `json:"store"`
	ABI          uint32          `json:"abi"`
	Revision     uint64          `json:"revision"`
	Networks     uint32          `json:"networks"`
	Endpoints    uint32          `json:"endpoints"`
	Broken       uint32          `json:"broken"`
	VTEPs        uint32          `json:"vteps"`
	StaleVTEPs   uint32          `json:"stale_vteps"`
	Remotes      uint32          `json:"remotes"`
	Underlay     *underlayRow    `json:"underlay,omitempty"`
	Repaired     uint64          `json:"repaired"`
	Removed      uint64          `json:"removed"`
	Lost         uint64          `json:"lost"`
	LastError    string          `json:"last_error,omitempty"`
	Capabilities []capabilityRow `json:"capabilities"`
}

type capabilityRow struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Reason string `json:"reason,omitempty"`
}

func (a *app) netStatus() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Print how the data plane is, and what this host can do",
		Long: "Print how the data plane is, and what this host can do, which is found out once by doing it, between network\n" +
			"namespaces of the server's own, and takes a few seconds. Before anything was added, that is left out.",
		Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: a.asking(func(ctx context.Context, g *agent, _ []string) error {
			s, err := g.GetStatus(ctx, &api.GetStatusRequest{Capabilities: true})
			if err != nil {
				return err
			}
			if a.output == "json" {
				return a.printJSON(statusDoc(g, s))
			}
			return a.printStatus(g, s)
		}),
	}
}

func statusDoc(g *agent, s *api.GetStatusResponse) netStatusDoc {
	d := netStatusDoc{
		Instance: g.dir, BPFFS: s.GetBpffs(), Store: s.GetStore(), ABI: s.GetAbi(), Revision: s.GetRevision(),
		Networks: s.GetNetworks(), Endpoints: s.GetEndpoints(), Broken: s.GetBroken(), VTEPs: s.GetVteps(), StaleVTEPs: s.GetStaleVteps(),
		Remotes: s.GetRemotes(), Repaired: s.GetRepaired(), Removed: s.GetRemoved(), Lost: s.GetLost(),
		LastError: s.GetLastError(), Capabilities: []capabilityRow{},
	}
	if u := s.GetUnderlay(); u != nil {
		row := newUnderlayRow(u)
		d.Underlay = &row
	}
	for _, c := range s.GetCapabilities() {
		d.Capabilities = append(d.Capabilities, capabilityRow{c.GetName(), c.GetValue(), c.GetReason()})
	}
	return d
}

func (a *app) printStatus(g *agent, s *api.GetStatusResponse) error {
	rows := [][]string{
		{"instance", g.dir},
		{"bpffs", s.GetBpffs()},
		{"store", fmt.Sprintf("%s, revision %d", s.GetStore(), s.GetRevision())},
		{"networks", decimal(s.GetNetworks())},
		{"endpoints", counted(s.GetEndpoints(), s.GetBroken(), "broken")},
		{"vteps", counted(s.GetVteps(), s.GetStaleVteps(), "without a known next hop")},
		{"remotes", decimal(s.GetRemotes())},
		{"underlay", underlayLine(s.GetUnderlay())},
		{"repaired", fmt.Sprintf("%d writes, %d endpoints removed, %d devices lost, since the start", s.GetRepaired(), s.GetRemoved(), s.GetLost())},
	}
	if e := s.GetLastError(); e != "" {
		rows = append(rows, []string{"last error", e})
	}
	for _, c := range s.GetCapabilities() {
		rows = append(rows, []string{c.GetName(), c.GetValue(), c.GetReason()})
	}
	return table(a.out, []string{"WHAT", "IS"}, rows)
}

func counted(n, bad uint32, what string) string {
	if bad == 0 {
		return decimal(n)
	}
	return fmt.Sprintf("%d, %d of them %s", n, bad, what)
}

func underlayLine(u *api.Underlay) string {
	if u.GetIfname() == "" {
		return "none"
	}
	r := newUnderlayRow(u)
	line := fmt.Sprintf("%s, %s, MTU %d, encap %s, XDP %s", r.Ifname, addresses([]string{r.IPv4, r.IPv6}), r.MTU, r.EncapUsed, onOff(r.XDPUsed))
	if r.NoXDP != "" {
		line += ": " + r.NoXDP
	}
	return line
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}
