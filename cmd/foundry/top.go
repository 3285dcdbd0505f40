// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"foundry/shim/view"
)

func (a *app) top() *cobra.Command {
	var interval time.Duration
	var count int
	cmd := &cobra.Command{
		Use: "top", Short: "Show what containers use, live", Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		Long: "Show what containers use, live, the busiest first. CPU is in percent of one processor.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if interval < 100*time.Millisecond {
				return fmt.Errorf("read command line: interval %s: less than 100ms", interval)
			}
			return a.watch(cmd.Context(), interval, count)
		},
	}
	cmd.Flags().DurationVarP(&interval, "interval", "d", 2*time.Second, "time between two readings")
	cmd.Flags().IntVarP(&count, "iterations", "n", 0, "how often, 0 is until interrupted")
	return cmd
}

// load is what a container did between two readings.
type load struct {
	Instance   string  `json:"instance"`
	Namespace  string  `json:"namespace"`
	ID         string  `json:"id"`
	CPU        float64 `json:"cpu_percent"`
	Memory     uint64  `json:"memory"`
	Limit      uint64  `json:"memory_limit,omitempty"`
	Pids       uint64  `json:"pids"`
	ReadBytes  float64 `json:"read_bytes_per_second"`
	WriteBytes float64 `json:"write_bytes_per_second"`
}

func (a *app) watch(ctx context.Context, interval time.Duration, count int) error {
	before, err := a.listed(ctx, "?usage=1")
	if err != nil {
		return err
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		now, err := a.listed(ctx, "?usage=1")
		if err != nil {
			return err
		}
		if err := a.printLoads(loads(before, now)); err != nil || n == count {
			return err
		}
		before = now
	}
}

// loads compares two readings. A container that is in one only has no load yet.
func loads(before, now []listed) []load {
	type key struct{ dir, namespace, id string }
	old := map[key]*view.Usage{}
	for _, c := range before {
		old[key{c.in.dir, c.Namespace, c.ID}] = c.Usage
	}
	all := []load{}
	for _, c := range now {
		u, o := c.Usage, old[key{c.in.dir, c.Namespace, c.ID}]
		if u == nil || o == nil || !u.At.After(o.At) {
			continue
		}
		t := u.At.Sub(o.At).Seconds()
		all = append(all, load{
			Instance: c.in.dir, Namespace: c.Namespace, ID: c.ID, Memory: u.Memory, Limit: u.MemoryLimit, Pids: u.Pids,
			CPU:        100 * max(0, u.CPU-o.CPU).Seconds() / t,
			ReadBytes:  rate(o.ReadBytes, u.ReadBytes, t),
			WriteBytes: rate(o.WriteBytes, u.WriteBytes, t),
		})
	}
	slices.SortStableFunc(all, func(x, y load) int { return cmp.Or(cmp.Compare(y.CPU, x.CPU), cmp.Compare(y.Memory, x.Memory)) })
	return all
}

// rate is 0 when the counter began anew: the id was used again.
func rate(before, now uint64, seconds float64) float64 {
	if now < before {
		return 0
	}
	return float64(now-before) / seconds
}

func (a *app) printLoads(all []load) error {
	if a.output == "json" {
		return a.printJSON(all)
	}
	if f, ok := a.out.(*os.File); ok && isTerminal(f) {
		fmt.Fprint(a.out, "\033[H\033[2J") // home, clear
	}
	var rows [][]string
	for _, l := range all {
		rows = append(rows, []string{l.Namespace, l.ID, fmt.Sprintf("%.1f", l.CPU), size(l.Memory), orDash(l.Limit), strconv.FormatUint(l.Pids, 10),
			size(uint64(l.ReadBytes)), size(uint64(l.WriteBytes))})
	}
	return table(a.out, []string{"NAMESPACE", "ID", "CPU%", "MEMORY", "LIMIT", "PIDS", "READ/S", "WRITE/S"}, rows)
}

func isTerminal(f *os.File) bool {
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0
}
