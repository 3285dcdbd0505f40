// SPDX-License-Identifier: Apache-2.0

// As the launcher: a line of mountinfo for each mount of each container is a
// lot to read for a limit of processors.
//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"foundry/runtime"
)

// deleteTime is less than the 5 s that containerd gives `delete`: they begin
// before this program does, and with as many others as a dead server had
// containers.
const deleteTime = 4 * time.Second

// exitFile is shim.ExitFile, the answer that a server leaves in the bundle.
const exitFile = "foundry.exit"

// container names what is to be deleted.
type container struct {
	root      string // the instance's directory; empty: the bundle tells
	namespace string
	id        string
	bundle    string
}

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "foundry-delete:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	c, err := parse(args)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), deleteTime)
	defer cancel()
	answer, err := c.remove(ctx)
	if err != nil {
		return err
	}
	if _, err := out.Write(answer); err != nil {
		return fmt.Errorf("delete %q: %w", c.id, err)
	}
	return nil
}

// parse reads the launcher's flags. Some are for the server alone.
func parse(args []string) (*container, error) {
	c := &container{}
	set := flag.NewFlagSet("foundry-delete", flag.ContinueOnError)
	set.StringVar(&c.root, "root", "", "directory of the instance")
	set.StringVar(&c.namespace, "namespace", "", "namespace of the container")
	set.StringVar(&c.id, "id", "", "id of the container")
	set.StringVar(&c.bundle, "bundle", ".", "bundle of the container")
	for _, name := range []string{"address", "publish-binary"} {
		set.String(name, "", "not used")
	}
	set.Bool("debug", false, "not used")
	if err := set.Parse(args); err != nil {
		return nil, fmt.Errorf("read command line: %w", err)
	}
	if c.namespace == "" || c.id == "" {
		return nil, errors.New("delete: no -namespace or -id")
	}
	var err error
	if c.bundle, err = filepath.Abs(c.bundle); err != nil {
		return nil, fmt.Errorf("delete %q: %w", c.id, err)
	}
	return c, nil
}

// remove returns what `delete` has to print. If there is a server it is asked,
// because it holds the container; else the files tell what there is to clean up.
func (c *container) remove(ctx context.Context) ([]byte, error) {
	answer, err := c.askServer(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "foundry-delete:", err) // containerd logs it; we go on without the server
	}
	if answer != nil {
		return answer, nil
	}
	if answer, err := os.ReadFile(filepath.Join(c.bundle, exitFile)); err == nil && len(answer) > 0 {
		return answer, nil
	}
	exit, _, err := runtime.Reclaim(ctx, runtime.ReclaimConfig{
		Root: c.root, Namespace: c.namespace, ID: c.id, Bundle: c.bundle,
		Log: slog.New(slog.NewTextHandler(os.Stderr, nil)), // containerd logs it
	})
	if err != nil {
		return nil, err
	}
	return response(exit), nil
}
