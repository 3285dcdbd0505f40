// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"foundry/shim/view"
)

func (a *app) ps() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "ps", Short: "List containers", Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		Long: "List the containers of all instances with what they use.\n\nCPU is the time that a container has used since it was created; EXECS are those that run.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := a.listed(cmd.Context(), "?usage=1")
			if err != nil {
				return err
			}
			var gone []flown
			if all {
				if gone, err = a.flown(cmd.Context()); err != nil {
					return err
				}
			}
			if a.output == "json" {
				return a.printJSON(jsonList(list, gone))
			}
			return a.printList(list, gone)
		},
	}
	cmd.Flags().BoolVarP(&all, "all", "a", false, "also those that went within the last hour, with the reason")
	return cmd
}

// psRow is a line of `ps -o json`.
type psRow struct {
	Instance string `json:"instance"`
	view.Container
	Gone  *time.Time `json:"gone,omitempty"`
	Cause string     `json:"cause,omitempty"`
}

func jsonList(list []listed, gone []flown) []psRow {
	rows := make([]psRow, 0, len(list))
	for _, c := range list {
		rows = append(rows, psRow{Instance: c.in.dir, Container: c.Container})
	}
	for _, f := range gone {
		if f.Gone != nil {
			rows = append(rows, psRow{Instance: f.in.dir, Gone: f.Gone, Cause: f.Cause,
				Container: view.Container{Namespace: f.Namespace, ID: f.ID, Status: "gone"}})
		}
	}
	return rows
}

func (a *app) printList(list []listed, gone []flown) error {
	several := map[*instance]bool{}
	for _, c := range list {
		several[c.in] = true
	}
	head := []string{"NAMESPACE", "ID", "PID", "STATUS", "AGE", "EXECS", "MEMORY", "CPU"}
	var rows [][]string
	for _, c := range list {
		row := []string{c.Namespace, c.ID, pid(c.Pid), status(c.Container), age(time.Since(c.Created)), strconv.Itoa(c.Execs), "-", "-"}
		if u := c.Usage; u != nil {
			row[6], row[7] = size(u.Memory), u.CPU.Round(time.Millisecond).String()
		}
		rows = append(rows, row)
	}
	for _, f := range gone {
		if f.Gone != nil {
			rows = append(rows, []string{f.Namespace, f.ID, "-", "gone", age(time.Since(*f.Gone)), "-", "-", "-", f.Cause})
		}
	}
	if len(several) > 1 {
		head = append([]string{"INSTANCE"}, head...)
		for i := range rows {
			name := "" // of those that are gone it does not matter any more
			if i < len(list) {
				name = list[i].in.short()
			}
			rows[i] = append([]string{name}, rows[i]...)
		}
	}
	return table(a.out, head, rows)
}

func pid(n int) string {
	if n == 0 {
		return "-"
	}
	return strconv.Itoa(n)
}

// status says with which status a container stopped.
func status(c view.Container) string {
	if c.Exit != nil {
		return fmt.Sprintf("%s (%d)", c.Status, c.Exit.Status)
	}
	return c.Status
}

func (a *app) instances() *cobra.Command {
	return &cobra.Command{
		Use: "instances", Short: "List the servers that run", Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		Long: "List the servers that run: one for each containerd, and mount and network namespace, on the host.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			found, err := a.find(cmd.Context())
			if err != nil {
				return err
			}
			servers := make([]view.Server, 0, len(found))
			var rows [][]string
			for _, in := range found {
				s := in.about
				servers = append(servers, s)
				rows = append(rows, []string{in.name(), strconv.Itoa(s.Pid), strconv.Itoa(s.Spawner), age(time.Since(s.Started)),
					strconv.Itoa(s.Containers), s.Version, s.Containerd})
			}
			if a.output == "json" {
				return a.printJSON(servers)
			}
			return table(a.out, []string{"INSTANCE", "PID", "SPAWNER", "AGE", "CONTAINERS", "VERSION", "CONTAINERD"}, rows)
		},
	}
}
