// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
)

// app is one call of the program.
type app struct {
	out      io.Writer
	errs     io.Writer // nil: warnings are dropped
	root     string    // directory of the instances
	instance string    // of the flag; "" is all
	output   string    // table or json
}

// exitCode is an outcome that is no error, but not success either.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

func main() {
	a := &app{out: os.Stdout, errs: os.Stderr, root: instancesRoot()}
	err := a.command().Execute()
	var code exitCode
	switch {
	case errors.As(err, &code):
		os.Exit(int(code))
	case err != nil:
		fmt.Fprintln(os.Stderr, "foundry:", oneLine(err))
		os.Exit(1)
	}
}

func (a *app) command() *cobra.Command {
	root := &cobra.Command{
		Use:           "foundry",
		Short:         "Look into the containers of Foundry, the containerd runtime, and set up their networks",
		Long:          "Look into the containers of Foundry, the containerd runtime, and into the servers that run them; set up their networks.\n\nInstances are found below /run/foundry, or FOUNDRY_ROOT.",
		SilenceErrors: true, SilenceUsage: true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if a.output != "table" && a.output != "json" {
				return fmt.Errorf("read command line: output %q: not a format (table, json)", a.output)
			}
			return nil
		},
	}
	root.PersistentFlags().StringVar(&a.instance, "instance", "", "only this instance: its directory, or the beginning of its name")
	root.PersistentFlags().StringVarP(&a.output, "output", "o", "table", "how to print: table or json")
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]cobra.Completion{"table", "json"}, cobra.ShellCompDirectiveNoFileComp))
	_ = root.RegisterFlagCompletionFunc("instance", a.completeInstances)
	root.AddCommand(a.ps(), a.inspect(), a.top(), a.stats(), a.why(), a.check(), a.instances(), a.debug(),
		a.net(), a.fdb(), a.vtep(), a.drops(), a.capture())
	addManual(root)
	refuseUnknown(root.Commands())
	return root
}

// refuseUnknown makes words that are no command of a group an error, where
// cobra prints the group's help and is content.
func refuseUnknown(groups []*cobra.Command) {
	for _, cmd := range groups {
		refuseUnknown(cmd.Commands())
		if cmd.Runnable() || !cmd.HasSubCommands() {
			continue
		}
		cmd.DisableFlagsInUseLine = true
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return fmt.Errorf("read command line: %q is no command of %s (see %[2]s --help)", args[0], cmd.CommandPath())
		}
	}
}
