// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"foundry/shim/view"
)

func (a *app) stats() *cobra.Command {
	return &cobra.Command{
		Use: "stats [ID...]", Short: "Print what containers have used, once",
		Long: "Print what containers, all of them by default, have used since they were created. CPU*, MEM* and IO* are the\n" +
			"time that at least one process stood still for want of it; the host must measure pressure (foundry check).",
		ValidArgsFunction: a.completeIDs(false),
		RunE: func(cmd *cobra.Command, args []string) error {
			list, err := a.chosen(cmd.Context(), args)
			if err != nil {
				return err
			}
			if a.output == "json" {
				return a.printJSON(jsonList(list, nil))
			}
			var rows [][]string
			for _, c := range list {
				rows = append(rows, append([]string{c.Namespace, c.ID}, statsRow(c.Usage)...))
			}
			return table(a.out, []string{"NAMESPACE", "ID", "CPU", "MEMORY", "LIMIT", "PEAK", "PIDS", "READ", "WRITTEN", "OOM", "CPU*", "MEM*", "IO*"}, rows)
		},
	}
}

// chosen are the containers that the arguments name.
func (a *app) chosen(ctx context.Context, args []string) ([]listed, error) {
	all, err := a.listed(ctx, "?usage=1")
	if err != nil || len(args) == 0 {
		return all, err
	}
	names := namesOf(all)
	var list []listed
	for _, arg := range args {
		n, err := pick(arg, names)
		if err != nil {
			return nil, err
		}
		for i := range all {
			if names[i] == n {
				list = append(list, all[i])
			}
		}
	}
	return list, nil
}

func statsRow(u *view.Usage) []string {
	if u == nil {
		return []string{"-"}
	}
	row := []string{u.CPU.Round(time.Millisecond).String(), size(u.Memory), orDash(u.MemoryLimit), orDash(u.MemoryPeak),
		strconv.FormatUint(u.Pids, 10), size(u.ReadBytes), size(u.WriteBytes), strconv.FormatUint(u.OOMKills, 10)}
	if u.PidsLimit > 0 {
		row[4] = fmt.Sprintf("%d/%d", u.Pids, u.PidsLimit)
	}
	for _, what := range []string{"cpu", "memory", "io"} {
		if p := u.Pressure[what]; p != nil {
			row = append(row, p.Some.Round(time.Millisecond).String())
		} else {
			row = append(row, "-")
		}
	}
	return row
}

func orDash(n uint64) string {
	if n == 0 {
		return "-"
	}
	return size(n)
}
