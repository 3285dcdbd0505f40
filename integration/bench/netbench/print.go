// SPDX-License-Identifier: Apache-2.0

package netbench

import (
	"fmt"
	"io"
)

// Ways are all of them, those of one host first; each is compared with the
// kernel's of its group.
var Ways = []struct{ Name, Base string }{
	{WayVeth, WayBridge}, {WayBridge, WayBridge}, {WayTCX, WayBridge}, {WaySmall, WayBridge}, {WayXDP, WayBridge},
	{WayVXLAN, WayVXLAN}, {WayTCXHosts, WayVXLAN}, {WayBigHosts, WayVXLAN}, {WayKernelHosts, WayVXLAN}, {WayXDPHosts, WayVXLAN},
}

// Measures are all of them.
var Measures = []string{Stream, Streams, RR, CRR, UDP, CPU, CPUs}

// Print writes it as text, with ratios and what they are of.
func (r *Results) Print(w io.Writer) {
	for _, m := range Measures {
		fmt.Fprintf(w, "\n%-46s %10s %9s   (quartiles)\n", m, "median", "ratio")
		for _, way := range Ways {
			if v := r.Series[m][way.Name]; len(v) > 0 {
				x := r.Ratio(m, way.Name, way.Base)
				fmt.Fprintf(w, "%-46s %10.4g %9.2f   (%.2f-%.2f)\n", way.Name, SpreadOf(v).Median, x.Median, x.Low, x.High)
			}
		}
	}
	fmt.Fprintf(w, "\n%-46s %10s %9s   (quartiles)\n", "live frames", "ns", "x drop")
	for _, c := range []string{CostDrop, CostForward, CostEncap, CostDecap} {
		x := RatiosOf(r.Cost[c], r.Cost[CostDrop])
		fmt.Fprintf(w, "%-46s %10.4g %9.2f   (%.2f-%.2f)\n", c, SpreadOf(r.Cost[c]).Median, x.Median, x.Low, x.High)
	}
	fmt.Fprintf(w, "\n%-42s %10s %9s   (quartiles)\n", "FDB", "frames/s", "ratio")
	for _, c := range []string{FDBSmall, FDBHot, FDBUniform} {
		x := RatiosOf(r.FDB[c], r.FDB[FDBSmall])
		fmt.Fprintf(w, "%-42s %10.4g %9.2f   (%.2f-%.2f)\n", c, SpreadOf(r.FDB[c]).Median, x.Median, x.Low, x.High)
	}
	fmt.Fprintf(w, "\n%-50s %10s %9s   (quartiles)\n", "attach", "us", "x Foundry")
	for _, c := range []string{AttachFoundry, AttachCNI, AttachPublished} {
		x := r.AttachRatio(c)
		fmt.Fprintf(w, "%-50s %10.4g %9.2f   (%.2f-%.2f)\n", c, SpreadOf(r.Attach[c]).Median, x.Median, x.Low, x.High)
	}
	r.printBudgets(w)
}

func (r *Results) printBudgets(w io.Writer) {
	fmt.Fprintf(w, "\n%-50s %8s %10s\n", "budget", "got", "aim")
	for _, row := range r.Rows() {
		verdict := "met"
		if !row.OK() {
			verdict = "missed"
		}
		fmt.Fprintf(w, "%-50s %8.2f %10s  %s (%s)\n", row.What, row.Got.Median, row.Budget(), verdict, row.Against)
	}
}
