// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"foundry/datapath/agent/api"
)

func (a *app) fdb() *cobra.Command {
	cmd := &cobra.Command{
		Use: "fdb", Short: "Who is behind which VTEP",
		Long: "Who is behind which VTEP: MACs and addresses of endpoints on other hosts. Those of this host come with\n" +
			"`foundry net endpoint add` and are listed too. ARP and neighbour discovery are answered from this table.",
	}
	cmd.AddCommand(a.fdbAdd(), a.fdbDelete(), a.fdbList())
	return cmd
}

// fdbRow is a line of `fdb list -o json`, and of the file of `fdb add -f`.
type fdbRow struct {
	VNI       uint32   `json:"vni"`
	MAC       string   `json:"mac"`
	Addresses []string `json:"addresses,omitempty"`
	VTEP      string   `json:"vtep,omitempty"`
	Endpoint  string   `json:"endpoint,omitempty"`
}

// fdbBatch is how many entries go in one message.
const fdbBatch = 4096

func (a *app) fdbAdd() *cobra.Command {
	row := fdbRow{}
	var file string
	var replace bool
	cmd := &cobra.Command{
		Use: "add VNI MAC --vtep ADDRESS", Short: "Add an entry, or many from a file",
		Example: "  foundry fdb add 100 02:00:00:00:01:01 --vtep 192.0.2.2 --address 10.0.0.11\n" +
			"  foundry fdb list -o json >entries; foundry fdb add -f entries",
		Args: cobra.MaximumNArgs(2), ValidArgsFunction: a.completeNetworks,
		RunE: a.following(func(ctx context.Context, g *agent, args []string) (err error) {
			add := func(batch []*api.FDBEntry) error {
				_, err := g.AddFDB(ctx, &api.AddFDBRequest{Entries: batch, Replace: replace})
				return err
			}
			switch {
			case file != "" && len(args) == 0:
				return readEntries(file, add)
			case file != "" || len(args) != 2:
				return errors.New("read command line: either VNI and MAC, or --file")
			}
			if row.VNI, err = number("VNI", args[0]); err != nil {
				return err
			}
			row.MAC = args[1]
			return add([]*api.FDBEntry{row.entry()})
		}),
	}
	cmd.Flags().StringVar(&row.VTEP, "vtep", "", "behind which it is")
	cmd.Flags().StringArrayVar(&row.Addresses, "address", nil, "an address that it has; may be repeated")
	cmd.Flags().StringVarP(&file, "file", "f", "", "read entries from this file, - is stdin: JSON objects, or arrays of them, as `fdb list -o json` prints")
	cmd.Flags().BoolVar(&replace, "replace", false, "change those that there are")
	_ = cmd.RegisterFlagCompletionFunc("vtep", a.completeVTEPs)
	return cmd
}

func (r fdbRow) entry() *api.FDBEntry {
	return &api.FDBEntry{Vni: r.VNI, Mac: r.MAC, Addresses: r.Addresses, Vtep: r.VTEP}
}

// readEntries hands on what a file has, in batches. Entries of endpoints of the
// host that wrote it are left out: they come with the endpoints.
func readEntries(file string, add func([]*api.FDBEntry) error) error {
	in := os.Stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return fmt.Errorf("read entries: %w", err)
		}
		defer f.Close()
		in = f
	}
	var batch []*api.FDBEntry
	for d := json.NewDecoder(in); ; {
		var rows rowOrRows
		err := d.Decode(&rows)
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read entries from %s: %w", file, err)
		}
		for _, r := range rows {
			if r.Endpoint == "" {
				batch = append(batch, r.entry())
			}
		}
		for len(batch) >= fdbBatch || err != nil && len(batch) > 0 {
			n := min(len(batch), fdbBatch)
			if err := add(batch[:n]); err != nil {
				return err
			}
			batch = batch[n:]
		}
		if err != nil {
			return nil
		}
	}
}

// rowOrRows is one entry, or an array of them.
type rowOrRows []fdbRow

func (r *rowOrRows) UnmarshalJSON(text []byte) error {
	if len(text) > 0 && text[0] == '[' {
		return json.Unmarshal(text, (*[]fdbRow)(r))
	}
	*r = make(rowOrRows, 1)
	return json.Unmarshal(text, &(*r)[0])
}

func (a *app) fdbDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete VNI MAC...", Short: "Delete entries of a network", Args: cobra.MinimumNArgs(2), ValidArgsFunction: a.completeNetworks,
		RunE: a.asking(func(ctx context.Context, g *agent, args []string) error {
			vni, err := number("VNI", args[0])
			if err != nil {
				return err
			}
			req := &api.DeleteFDBRequest{}
			for _, mac := range args[1:] {
				req.Entries = append(req.Entries, &api.FDBEntry{Vni: vni, Mac: mac})
			}
			_, err = g.DeleteFDB(ctx, req)
			return err
		}),
	}
}

func (a *app) fdbList() *cobra.Command {
	req := &api.ListFDBRequest{}
	var vni uint32
	cmd := &cobra.Command{
		Use: "list", Short: "List entries, those of this host's endpoints too", Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.RunE = a.following(func(ctx context.Context, g *agent, _ []string) error {
		if cmd.Flags().Changed("vni") {
			req.Vni = &vni
		}
		return a.printFDB(ctx, g, req)
	})
	cmd.Flags().Uint32Var(&vni, "vni", 0, "only those of this network")
	cmd.Flags().StringVar(&req.Mac, "mac", "", "only this one")
	cmd.Flags().StringVar(&req.Vtep, "vtep", "", "only those behind this one")
	_ = cmd.RegisterFlagCompletionFunc("vni", a.completeNetworks)
	_ = cmd.RegisterFlagCompletionFunc("vtep", a.completeVTEPs)
	return cmd
}

// printFDB prints entries as they come: there may be a million.
func (a *app) printFDB(ctx context.Context, g *agent, req *api.ListFDBRequest) error {
	stream, err := g.ListFDB(ctx, req)
	if err != nil {
		return err
	}
	lines := json.NewEncoder(a.out)
	head := []string{"VNI", "MAC", "BEHIND", "ADDRESSES"}
	for first := true; ; first = false {
		part, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			if first && a.output != "json" {
				return table(a.out, head, nil)
			}
			return nil
		} else if err != nil {
			return err
		}
		var rows [][]string
		for _, e := range part.GetEntries() {
			r := fdbRow{e.GetVni(), e.GetMac(), e.GetAddresses(), e.GetVtep(), e.GetEndpoint()}
			if a.output == "json" {
				if err := lines.Encode(r); err != nil {
					return fmt.Errorf("print: %w", err)
				}
				continue
			}
			rows = append(rows, []string{decimal(r.VNI), r.MAC, behind(r), addresses(r.Addresses)})
		}
		if a.output != "json" {
			if err := table(a.out, head, rows); err != nil {
				return err
			}
		}
	}
}

func behind(r fdbRow) string {
	if r.Endpoint != "" {
		return "endpoint " + r.Endpoint
	}
	return "vtep " + r.VTEP
}
