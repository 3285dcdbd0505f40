// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"math"
	"strings"

	"foundry/integration/bench/netbench"
)

// Sizes of the plot, in pixels.
const (
	width   = 760
	left    = 200 // where bars begin
	right   = 40
	bar     = 12
	gap     = 14 // between measures
	header  = 58 // above the first panel
	title   = 34 // of a panel
	feet    = 26 // of a panel
	longest = 3.0
)

// Colours are told apart on light and on dark ground, and by who sees no red.
const style = `<style>
text { font: 12px system-ui, sans-serif; fill: #24292f }
.title { font-size: 15px; font-weight: 600 } .panel { font-weight: 600 } .small { font-size: 11px }
.grid { stroke: #d0d7de } .one { stroke: #57606a; stroke-width: 1.5 } .spread { stroke: #24292f; stroke-width: 1.5 }
.ground { fill: #ffffff } .c0 { fill: #8c959f } .c1 { fill: #0969da } .c2 { fill: #e16f24 } .c3 { fill: #54aeff } .c4 { fill: #1a7f37 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .grid { stroke: #30363d } .one { stroke: #9198a1 } .spread { stroke: #e6edf3 }
.ground { fill: #0d1117 } .c0 { fill: #6e7681 } .c1 { fill: #4493f8 } .c2 { fill: #f0883e } .c3 { fill: #9ecbff } .c4 { fill: #3fb950 }
}
</style>
`

// canvas is an SVG that grows downwards.
type canvas struct {
	strings.Builder
	y int
}

// bars are the ways of a panel, and their colours.
var bars = map[string][]struct{ way, label, class string }{
	netbench.WayBridge: {{netbench.WayVeth, "a veth pair, nothing between", "c0"}, {netbench.WayTCX, "Foundry tcx", "c1"},
		{netbench.WaySmall, "tcx, frames of 64 KiB", "c3"}, {netbench.WayXDP, "Foundry XDP", "c2"}},
	netbench.WayVXLAN: {{netbench.WayTCXHosts, "Foundry tcx", "c1"}, {netbench.WayBigHosts, "tcx, wire of 192 KiB", "c4"},
		{netbench.WayKernelHosts, "tcx, encap: kernel", "c3"},
		{netbench.WayXDPHosts, "Foundry XDP", "c2"}},
}

// plot draws how many times as good as the kernel's each way is: of latency
// and of processor time less is better, so they are turned round.
func plot(r *netbench.Results) string {
	c := &canvas{y: header}
	c.panel(r, "One host, against the kernel's bridge", netbench.WayBridge)
	c.panel(r, "Two hosts, against the kernel's bridge and VXLAN device", netbench.WayVXLAN)
	return fmt.Sprintf("<svg xmlns=%q viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" role=\"img\">\n", "http://www.w3.org/2000/svg", width, c.y, width, c.y) +
		"<title>Ways between two containers, against the kernel's</title>\n" + style +
		fmt.Sprintf("<rect class=\"ground\" width=\"%d\" height=\"%d\" rx=\"6\"/>\n", width, c.y) +
		"<text class=\"title\" x=\"16\" y=\"26\">How many times as good as the kernel's way</text>\n" +
		fmt.Sprintf("<text class=\"small\" x=\"16\" y=\"44\">medians of %d rounds; the lines span half of the rounds; longer is better everywhere (latency and CPU are turned round)</text>\n", r.Rounds) +
		c.String() + "</svg>\n"
}

func x(value float64) float64 {
	return left + math.Min(value, longest)/longest*(width-left-right)
}

// panel draws all measures of the ways that are compared with base.
func (c *canvas) panel(r *netbench.Results, name, base string) {
	fmt.Fprintf(c, "<text class=\"panel\" x=\"16\" y=\"%d\">%s</text>\n", c.y+14, name)
	at := x(longest)
	for i := len(bars[base]) - 1; i >= 0; i-- {
		b := bars[base][i]
		at -= float64(24 + 6*len(b.label))
		fmt.Fprintf(c, "<rect class=%q x=\"%.0f\" y=\"%d\" width=\"10\" height=\"10\"/><text class=\"small\" x=\"%.0f\" y=\"%d\">%s</text>\n",
			b.class, at, c.y+24, at+14, c.y+33, b.label)
	}
	c.y += title + 12
	top, height := c.y, len(netbench.Measures)*(gap+bar*len(bars[base]))
	for v := 0.0; v <= longest; v += 0.5 {
		class := "grid"
		if v == 1 {
			class = "one"
		}
		fmt.Fprintf(c, "<line class=%q x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\"/><text class=\"small\" x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%g</text>\n",
			class, x(v), x(v), top, top+height, x(v), top+height+14, v)
	}
	for _, m := range netbench.Measures {
		c.group(r, m, base)
	}
	c.y = top + height + feet
}

// group draws one measure.
func (c *canvas) group(r *netbench.Results, measure, base string) {
	c.y += gap / 2
	fmt.Fprintf(c, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>\n", left-10, c.y+bar*len(bars[base])/2+4, measure)
	for _, b := range bars[base] {
		if s := better(r, measure, b.way, base); s.Median > 0 {
			middle := float64(c.y) + bar/2
			fmt.Fprintf(c, "<rect class=%q x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"%d\"><title>%s, %s: %.2f (%.2f to %.2f)</title></rect>"+
				"<line class=\"spread\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>\n",
				b.class, left, c.y+1, x(s.Median)-left, bar-2, b.way, measure, s.Median, s.Low, s.High, x(s.Low), x(s.High), middle, middle)
		}
		c.y += bar
	}
	c.y += gap / 2
}

// better is the ratio, or what it is turned round.
func better(r *netbench.Results, measure, way, base string) netbench.Spread {
	switch measure {
	case netbench.RR, netbench.CPU, netbench.CPUs:
		return r.Ratio(measure, base, way)
	}
	return r.Ratio(measure, way, base)
}
