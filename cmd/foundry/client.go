// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"foundry/shim/view"
)

const (
	askTime  = 10 * time.Second // for an answer; profiles take as long as they were asked to
	findTime = 3 * time.Second  // for a sign of life
)

func instancesRoot() string {
	if root := os.Getenv("FOUNDRY_ROOT"); root != "" {
		return root
	}
	return "/run/foundry"
}

// instance is the directory of a server.
type instance struct {
	dir   string
	http  *http.Client
	about view.Server // what it said when it was found
}

func (in *instance) name() string { return filepath.Base(in.dir) }

// short is enough of the name for people.
func (in *instance) short() string { return in.name()[:min(8, len(in.name()))] }

func open(dir string) *instance {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", filepath.Join(dir, view.Socket))
	}
	return &instance{dir: dir, http: &http.Client{Transport: &http.Transport{DialContext: dial}}}
}

// find returns the instances that answer. Those of servers that have gone are
// passed over, unless one was asked for; of those that hang the user is told.
func (a *app) find(ctx context.Context) ([]*instance, error) {
	files, err := filepath.Glob(filepath.Join(a.root, "*", "server"))
	if err != nil {
		return nil, fmt.Errorf("find instances in %s: %w", a.root, err)
	}
	if strings.HasPrefix(a.instance, "/") {
		files = []string{filepath.Join(a.instance, "server")}
	}
	var all []*instance
	for _, f := range files {
		in := open(filepath.Dir(f))
		if strings.HasPrefix(a.instance, "/") || strings.HasPrefix(in.name(), a.instance) {
			all = append(all, in)
		}
	}
	found, failures := alive(ctx, all)
	silent := slices.DeleteFunc(slices.Clone(failures), func(err error) bool { return errors.Is(err, errGone) })
	switch {
	case len(found) > 0:
		for _, err := range silent {
			a.warn(err)
		}
		return found, nil
	case errors.Is(errors.Join(failures...), fs.ErrPermission) || os.Geteuid() != 0:
		return nil, fmt.Errorf("find instances in %s: permission denied (run it as the user of containerd, root)", a.root)
	case len(silent) > 0:
		return nil, errors.Join(silent...)
	case len(failures) > 0:
		return nil, failures[len(failures)-1]
	case a.instance != "":
		return nil, fmt.Errorf("find instance %q in %s: there is none (foundry instances lists them)", a.instance, a.root)
	}
	return nil, fmt.Errorf("find instances in %s: no server runs (the first container starts one; FOUNDRY_ROOT names another directory)", a.root)
}

// alive asks all instances at once who they are. It returns those that answer,
// in order, and why the others do not.
func alive(ctx context.Context, all []*instance) (found []*instance, failures []error) {
	ctx, cancel := context.WithTimeout(ctx, findTime)
	defer cancel()
	errs := make([]error, len(all))
	var asked sync.WaitGroup
	for i, in := range all {
		asked.Go(func() { errs[i] = in.get(ctx, view.Servers, &in.about) })
	}
	asked.Wait()
	for i, err := range errs {
		if err == nil {
			found = append(found, all[i])
		} else {
			failures = append(failures, err)
		}
	}
	return found, failures
}

// warn tells of an instance whose containers are missing in what is printed.
func (a *app) warn(err error) {
	if a.errs != nil {
		fmt.Fprintf(a.errs, "foundry: %s; its containers are left out\n", oneLine(err))
	}
}

// one is find where only one will do.
func (a *app) one(ctx context.Context) (*instance, error) {
	all, err := a.find(ctx)
	if err != nil {
		return nil, err
	}
	if len(all) == 1 {
		return all[0], nil
	}
	names := make([]string, 0, len(all))
	for _, in := range all {
		names = append(names, in.name())
	}
	return nil, fmt.Errorf("choose an instance: there are %d: %s (name one with --instance)", len(all), strings.Join(names, ", "))
}

// get decodes a document.
func (in *instance) get(ctx context.Context, path string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	body, err := in.do(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer body.Close()
	if err := json.NewDecoder(body).Decode(into); err != nil {
		return fmt.Errorf("read answer of %s: %w (is the server of another version?)", in.dir, err)
	}
	return nil
}

// errGone is the state of an instance whose server does not run.
var errGone = errors.New("nobody answers: it is gone, or older than the debug socket (the next container starts a new one)")

// errMissing is the answer of a server that does not know the object.
var errMissing = errors.New("not known to the server")

// do makes a request; the body is the caller's to close.
func (in *instance) do(ctx context.Context, method, path string, body io.Reader) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://foundry"+path, body)
	if err != nil {
		return nil, fmt.Errorf("ask server in %s: %w", in.dir, err)
	}
	resp, err := in.http.Do(req)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("ask server in %s: %w", in.dir, errGone)
	case errors.Is(err, context.DeadlineExceeded):
		return nil, fmt.Errorf("ask server in %s: no answer in time: it is stopped, or hangs (`kill -USR1` of the pid in its file `server` writes its stacks to `log`)", in.dir)
	case err != nil:
		return nil, fmt.Errorf("ask server in %s: %w", in.dir, cause(err))
	case resp.StatusCode == http.StatusOK:
		return resp.Body, nil
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if resp.StatusCode == http.StatusNotFound {
		return nil, fmt.Errorf("%w: %s", errMissing, strings.TrimSpace(string(text)))
	}
	return nil, fmt.Errorf("ask server in %s: %s", in.dir, strings.TrimSpace(string(text)))
}

// cause drops the request from an error of net/http: it is not the operator's.
func cause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op
	}
	return err
}

func oneLine(err error) string {
	return plain(strings.Join(strings.Fields(strings.ReplaceAll(err.Error(), "\n", "; ")), " "))
}

func (a *app) completeInstances(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var names []cobra.Completion
	all, _ := a.find(cmd.Context()) // a shell has no use for an error
	for _, in := range all {
		names = append(names, in.name())
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
