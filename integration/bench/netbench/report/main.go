// SPDX-License-Identifier: Apache-2.0

// Command report puts what a run of the network bench measured into a
// document, between the lines "<!-- figures -->" and "<!-- end of figures -->",
// and draws a plot of it:
//
//	report bin/bench-net.json docs/bench/network.md docs/bench/network.svg
//
// Only ratios go there: rates of one machine say nothing on another.
package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"foundry/integration/bench/netbench"
)

const (
	begin = "<!-- figures -->\n"
	end   = "<!-- end of figures -->\n"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 3 {
		return errors.New("usage: report RESULTS.json DOCUMENT.md PLOT.svg")
	}
	r, err := netbench.Read(args[0])
	if err != nil {
		return err
	}
	doc, err := os.ReadFile(args[1])
	if err != nil {
		return err
	}
	head, rest, ok := strings.Cut(string(doc), begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return fmt.Errorf("write %s: it lacks %q or %q", args[1], strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	if err := os.WriteFile(args[1], []byte(head+begin+text(r)+end+tail), 0o644); err != nil {
		return err
	}
	return os.WriteFile(args[2], []byte(plot(r)), 0o644)
}

func text(r *netbench.Results) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d rounds; before the first others kept %.1f processors busy (load average %.1f, after the last %.1f).\n\n",
		r.Rounds, r.Busy, first(r.Load), last(r.Load))
	if r.Busy > 0.5 {
		b.WriteString("**The machine was busy with other things: these figures are to be made anew.**\n\n")
	}
	b.WriteString("| what | median | half of the rounds | aim | |\n|---|---|---|---|---|\n")
	for _, row := range r.Rows() {
		met := "missed"
		if row.OK() {
			met = "met"
		}
		fmt.Fprintf(&b, "| %s | %.2f %s | %s | %s | %s |\n", row.What, row.Got.Median, row.Against, between(row.Got), row.Budget(), met)
	}
	b.WriteString("\nOne host, in units of the kernel bridge of the same round (in brackets: half of the rounds):\n\n")
	b.WriteString(ways(r, netbench.WayBridge))
	b.WriteString("\nTwo hosts, in units of the kernel's bridge and VXLAN device:\n\n")
	b.WriteString(ways(r, netbench.WayVXLAN))
	b.WriteString("\nFrames of the smallest size from one program to where they are dropped, one processor, in units of `XDP_DROP`:\n\n")
	b.WriteString(list(r.Cost, netbench.CostDrop, []string{netbench.CostDrop, netbench.CostForward, netbench.CostEncap, netbench.CostDecap}))
	b.WriteString("\nThe rate with an FDB, in units of that with 100 entries:\n\n")
	b.WriteString(list(r.FDB, netbench.FDBSmall, []string{netbench.FDBSmall, netbench.FDBHot, netbench.FDBUniform}))
	if len(r.Attach) > 0 {
		b.WriteString("\nThe time to attach a container, in units of Foundry's:\n\n")
		b.WriteString(list(r.Attach, netbench.AttachFoundry, []string{netbench.AttachFoundry, netbench.AttachCNI, netbench.AttachPublished}))
	}
	return b.String()
}

func first(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	return v[0]
}

func last(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	return v[len(v)-1]
}

func between(s netbench.Spread) string { return fmt.Sprintf("%.2f to %.2f", s.Low, s.High) }

func cell(s netbench.Spread) string {
	if s.Median == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f (%.2f-%.2f)", s.Median, s.Low, s.High)
}

// ways is the table of those that are compared with base.
func ways(r *netbench.Results, base string) string {
	var b strings.Builder
	rule := "|---"
	b.WriteString("| ")
	for _, m := range netbench.Measures {
		fmt.Fprintf(&b, " | %s", m)
		rule += "|---"
	}
	b.WriteString(" |\n" + rule + "|\n")
	for _, w := range netbench.Ways {
		if w.Base != base {
			continue
		}
		b.WriteString("| " + w.Name)
		for _, m := range netbench.Measures {
			if w.Name == base {
				b.WriteString(" | 1")
			} else {
				b.WriteString(" | " + cell(r.Ratio(m, w.Name, base)))
			}
		}
		b.WriteString(" |\n")
	}
	return b.String()
}

// list is a table of one column, in units of base.
func list(values map[string][]float64, base string, names []string) string {
	var b strings.Builder
	b.WriteString("| | median | half of the rounds |\n|---|---|---|\n")
	for _, name := range names {
		if s := netbench.RatiosOf(values[name], values[base]); s.Median > 0 {
			fmt.Fprintf(&b, "| %s | %.2f | %s |\n", name, s.Median, between(s))
		}
	}
	return b.String()
}
