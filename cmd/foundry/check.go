// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

// The states of a finding, from good to bad. The worst of all is the exit
// status of `check`.
const (
	stateOK       = "ok"
	stateDegraded = "degraded"
	stateFatal    = "fatal"
)

// finding is what was found of one feature.
type finding struct {
	Name     string `json:"name"`
	State    string `json:"state"`
	Found    string `json:"found"`
	Effect   string `json:"effect,omitempty"`   // of its absence
	Fallback string `json:"fallback,omitempty"` // what is done instead, or what helps
}

func (a *app) check() *cobra.Command {
	return &cobra.Command{
		Use: "check", Short: "Say what this kernel and host lack, and what that means", Args: cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		Long: "Look at this kernel and host and name each feature that containers may need, what its absence means, and\n" +
			"what is done instead. No server need run; as root it sees more. Nothing on the host is changed.\n\n" +
			"Exit status: 0 when all is there, 1 when something is missing that some containers need, 2 when no\n" +
			"container can run.",
		RunE: func(*cobra.Command, []string) error {
			findings := look(features())
			if err := a.printFindings(findings); err != nil {
				return err
			}
			if code := worst(findings); code != 0 {
				return exitCode(code)
			}
			return nil
		},
	}
}

// look probes every feature.
func look(all []feature) []finding {
	findings := make([]finding, 0, len(all))
	for _, f := range all {
		found, ok := f.probe()
		r := finding{Name: f.name, State: stateOK, Found: found}
		if !ok {
			r.State, r.Effect, r.Fallback = stateDegraded, f.effect, f.fallback
			if f.vital {
				r.State = stateFatal
			}
		}
		findings = append(findings, r)
	}
	return findings
}

func worst(findings []finding) int {
	code := 0
	for _, f := range findings {
		switch f.State {
		case stateFatal:
			code = 2
		case stateDegraded:
			code = max(code, 1)
		}
	}
	return code
}

func (a *app) printFindings(findings []finding) error {
	if a.output == "json" {
		return a.printJSON(findings)
	}
	var rows [][]string
	count := map[string]int{}
	for _, f := range findings {
		count[f.State]++
		rows = append(rows, []string{f.State, f.Name, f.Found})
		if f.State != stateOK {
			rows = append(rows, []string{"", "", "  without it: " + f.Effect})
			if f.Fallback != "" {
				rows = append(rows, []string{"", "", "  instead: " + f.Fallback})
			}
		}
	}
	if err := table(a.out, []string{"STATE", "FEATURE", "FOUND"}, rows); err != nil {
		return err
	}
	verdict := "all is there"
	switch {
	case count[stateFatal] > 0:
		verdict = "no container can run here"
	case count[stateDegraded] > 0:
		verdict = "containers run; those that need what is missing do not, or run differently"
	}
	if os.Geteuid() != 0 {
		verdict += " (seen without root: some of it cannot be known)"
	}
	fmt.Fprintf(a.out, "\n%d ok, %d degraded, %d fatal: %s\n", count[stateOK], count[stateDegraded], count[stateFatal], verdict)
	return nil
}
