// SPDX-License-Identifier: Apache-2.0

//go:build man

package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// addManual adds the command that writes the manual pages. It is built for
// `make generate` alone: the program itself is not linked with a formatter.
func addManual(root *cobra.Command) {
	root.CompletionOptions.HiddenDefaultCmd = true // it would be five pages about shells
	root.AddCommand(&cobra.Command{
		Use: "man DIRECTORY", Short: "Write the manual pages", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return fmt.Errorf("write manual pages: %w", err)
			}
			root.DisableAutoGenTag = true
			date := time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC) // two runs write the same
			head := &doc.GenManHeader{Title: "FOUNDRY", Section: "8", Source: "Foundry", Manual: "System administration", Date: &date}
			return doc.GenManTree(root, head, args[0])
		},
	})
}
