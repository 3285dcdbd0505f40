// SPDX-License-Identifier: Apache-2.0

// Command report puts the figures of a bench run into a document, between the
// lines "<!-- figures -->" and "<!-- end of figures -->":
//
//	report bin/bench.json docs/bench/containers.md
//
// Only ratios go there: absolute times of one machine say nothing on another.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

const (
	begin = "<!-- figures -->\n"
	end   = "<!-- end of figures -->\n"
)

const foundry = "io.containerd.foundry.v1"

// runtimes are the columns, in their order.
var runtimes = []struct{ name, title string }{
	{foundry, "Foundry"}, {"io.containerd.runc.v2", "runc v2"}, {"io.containerd.noop.v1", "empty shim"},
}

type quantiles struct{ P50, P90, P99 float64 }

type memory struct{ Processes, PSS int }

// results is what the bench writes.
type results struct {
	Budgets []struct {
		What, Budget, Unit string
		Got                float64
		OK                 bool
	}
	Series map[string]map[string]quantiles `json:"series_ms"`
	Memory map[string]map[string]memory    `json:"memory_kib"`
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return errors.New("usage: report RESULTS.json DOCUMENT.md")
	}
	data, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	var r results
	if err := json.Unmarshal(data, &r); err != nil {
		return fmt.Errorf("read %s: %w", args[0], err)
	}
	doc, err := os.ReadFile(args[1])
	if err != nil {
		return err
	}
	text, err := insert(string(doc), r.text())
	if err != nil {
		return fmt.Errorf("write %s: %w", args[1], err)
	}
	return os.WriteFile(args[1], []byte(text), 0o644)
}

// insert replaces what is between the two lines.
func insert(doc, figures string) (string, error) {
	head, rest, ok := strings.Cut(doc, begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return "", fmt.Errorf("it lacks %q or %q", strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	return head + begin + figures + end + tail, nil
}

func (r *results) text() string {
	var b strings.Builder
	b.WriteString("| what | measured | aim | |\n|---|---|---|---|\n")
	for _, row := range r.Budgets {
		met := "missed"
		if row.OK {
			met = "met"
		}
		fmt.Fprintf(&b, "| %s | %.2f %s | %s | %s |\n", row.What, row.Got, row.Unit, row.Budget, met)
	}
	b.WriteString("\nWhole lives at p50 / p90 / p99, in units of Foundry's p50 of the same row (\"task\" is the task API without containerd, \"life\" is\n" +
		"through containerd, \"parallel\" is 32 at once, \"exec\" an exec through containerd):\n\n|")
	for _, c := range runtimes {
		b.WriteString(" | " + c.title)
	}
	b.WriteString(" |\n|---|---|---|---|\n")
	for _, what := range []string{"task", "life", "parallel", "exec"} {
		b.WriteString(r.row(what))
	}
	b.WriteString("\nAt the task API a life of Foundry's divides into " + r.shares() + ".\n")
	b.WriteString("\nMemory (PSS of all processes, in units of Foundry with one container; number of processes in brackets):\n\n")
	b.WriteString(r.memory())
	return b.String()
}

// row compares one kind of life.
func (r *results) row(what string) string {
	unit := r.Series[foundry+" "+what]["total"].P50
	line := "| " + what
	for _, c := range runtimes {
		s, ok := r.Series[c.name+" "+what]
		if t := s["total"]; ok && unit > 0 {
			line += fmt.Sprintf(" | %.2f / %.2f / %.2f", t.P50/unit, t.P90/unit, t.P99/unit)
		} else {
			line += " | -"
		}
	}
	return line + " |\n"
}

// shares says what part of a life its calls take.
func (r *results) shares() string {
	series := r.Series[foundry+" task"]
	var parts []string
	for _, phase := range []string{"create", "start", "exit", "delete"} {
		if total := series["total"].P50; total > 0 {
			parts = append(parts, fmt.Sprintf("%s %.0f %%", phase, 100*series[phase].P50/total))
		}
	}
	return strings.Join(parts, ", ")
}

func (r *results) memory() string {
	var counts []int
	for n := range r.Memory[foundry] {
		if i, err := strconv.Atoi(n); err == nil {
			counts = append(counts, i)
		}
	}
	slices.Sort(counts)
	head, rule := "| containers", "|---"
	for _, n := range counts {
		head += fmt.Sprintf(" | %d", n)
		rule += "|---"
	}
	out := head + " |\n" + rule + "|\n"
	unit := float64(r.Memory[foundry]["1"].PSS)
	for _, c := range runtimes {
		if len(r.Memory[c.name]) == 0 {
			continue
		}
		out += "| " + c.title
		for _, n := range counts {
			m := r.Memory[c.name][strconv.Itoa(n)]
			out += fmt.Sprintf(" | %.2f (%d)", float64(m.PSS)/unit, m.Processes)
		}
		out += " |\n"
	}
	return out
}
