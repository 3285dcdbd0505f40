// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"foundry/shim/view"
)

// profiles are what `debug pprof` offers; those that last have seconds.
var profiles = map[string]bool{
	"allocs": false, "block": false, "goroutine": false, "heap": false, "mutex": false, "threadcreate": false,
	"profile": true, "trace": true,
}

func (a *app) debug() *cobra.Command {
	cmd := &cobra.Command{Use: "debug", Short: "Look into the server itself"}
	cmd.AddCommand(a.pprof(), a.goroutines(), a.log(), a.logLevel(), a.metrics())
	return cmd
}

// copy prints an answer as it is.
func (a *app) copy(cmd *cobra.Command, method, path string, body io.Reader, to io.Writer) error {
	in, err := a.one(cmd.Context())
	if err != nil {
		return err
	}
	answer, err := in.do(cmd.Context(), method, path, body)
	if err != nil {
		return err
	}
	defer answer.Close()
	if _, err := io.Copy(to, answer); err != nil {
		return fmt.Errorf("copy answer of %s: %w", in.dir, err)
	}
	return nil
}

func (a *app) pprof() *cobra.Command {
	var file string
	var seconds int
	var names []cobra.Completion
	for name := range profiles {
		names = append(names, name)
	}
	cmd := &cobra.Command{
		Use: "pprof PROFILE", Short: "Fetch a profile of the server for `go tool pprof`",
		Long: "Fetch a profile of the server for `go tool pprof`: heap, allocs, goroutine, block, mutex, threadcreate,\n" +
			"profile (of the processor, for --seconds), or trace (for `go tool trace`).",
		Example: "  foundry debug pprof heap -f heap.pb.gz && go tool pprof -top heap.pb.gz",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: cobra.FixedCompletions(names, cobra.ShellCompDirectiveNoFileComp),
		RunE: func(cmd *cobra.Command, args []string) error {
			lasts, ok := profiles[args[0]]
			if !ok {
				return fmt.Errorf("fetch profile %q: there is none of that name (heap, allocs, goroutine, block, mutex, threadcreate, profile, trace)", args[0])
			}
			path := view.Pprof + args[0]
			if lasts {
				path += "?seconds=" + strconv.Itoa(seconds)
			}
			if file == "" {
				file = args[0] + ".pb.gz"
			}
			if file == "-" {
				return a.copy(cmd, http.MethodGet, path, nil, a.out)
			}
			return a.fetch(cmd, path, file)
		},
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "where to put it; - is stdout (default PROFILE.pb.gz)")
	cmd.Flags().IntVar(&seconds, "seconds", 10, "how long to watch, for profile and trace")
	return cmd
}

// fetch makes the file when there is something to write, and never removes it:
// it may be another's, or a device.
func (a *app) fetch(cmd *cobra.Command, path, file string) error {
	to := &late{path: file}
	if err := a.copy(cmd, http.MethodGet, path, nil, to); err != nil {
		return errors.Join(err, to.Close())
	}
	if err := to.Close(); err != nil {
		return fmt.Errorf("keep profile: %w", err)
	}
	fmt.Fprintln(a.out, file)
	return nil
}

// late is a file that is made by the first write.
type late struct {
	path string
	file *os.File
}

func (l *late) Write(b []byte) (int, error) {
	if l.file == nil {
		f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			return 0, err
		}
		l.file = f
	}
	return l.file.Write(b)
}

// Close closes the file, if it was made.
func (l *late) Close() error {
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}

func (a *app) goroutines() *cobra.Command {
	return &cobra.Command{
		Use: "goroutines", Short: "Print the stacks of all goroutines of the server", Args: cobra.NoArgs,
		Long: "Print the stacks of all goroutines of the server. `kill -USR1` of the server writes them to its log.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.copy(cmd, http.MethodGet, view.Pprof+"goroutine?debug=2", nil, a.out)
		},
	}
}

func (a *app) log() *cobra.Command {
	var lines int
	cmd := &cobra.Command{
		Use: "log", Short: "Print the end of the server's log", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.copy(cmd, http.MethodGet, view.Log+"?lines="+strconv.Itoa(lines), nil, a.out)
		},
	}
	cmd.Flags().IntVarP(&lines, "lines", "n", 100, "how many lines, at most")
	return cmd
}

func (a *app) logLevel() *cobra.Command {
	return &cobra.Command{
		Use: "log-level [debug|info|warn|error]", Short: "Print or set how much the server logs, until it ends",
		Args: cobra.MaximumNArgs(1), ValidArgs: []cobra.Completion{"debug", "info", "warn", "error"},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return a.copy(cmd, http.MethodGet, view.LogLevel, nil, a.out)
			}
			return a.copy(cmd, http.MethodPut, view.LogLevel, strings.NewReader(args[0]), a.out)
		},
	}
}

func (a *app) metrics() *cobra.Command {
	return &cobra.Command{
		Use: "metrics", Short: "Print the server's metrics, as Prometheus reads them", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.copy(cmd, http.MethodGet, view.Metrics, nil, a.out)
		},
	}
}
