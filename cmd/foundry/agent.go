// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	grpcstatus "google.golang.org/grpc/status"

	"foundry/datapath/agent/api"
)

// changeTime is for an answer about networks: the first change loads programs,
// and the first underlay is tested.
const changeTime = time.Minute

// maxAnswer is room for the counters of all endpoints that there may be.
const maxAnswer = 64 << 20

// agentSocket is where an instance answers about its data plane.
const agentSocket = "agent.sock"

// agent is the data plane of an instance.
type agent struct {
	api.AgentClient
	dir  string
	conn *grpc.ClientConn
}

// agent finds the data plane that is meant. The caller closes its conn.
func (a *app) agent(ctx context.Context) (*agent, error) {
	all, err := a.agents()
	if err != nil {
		return nil, err
	}
	found, silent := answering(ctx, all)
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		names := make([]string, len(found))
		for i, g := range found {
			names[i] = filepath.Base(g.dir)
			g.conn.Close()
		}
		return nil, fmt.Errorf("choose an instance: there are %d: %s (name one with --instance)", len(found), strings.Join(names, ", "))
	case silent != nil:
		return nil, silent
	case os.Geteuid() != 0:
		return nil, fmt.Errorf("find data planes in %s: permission denied (run it as the user of containerd, root)", a.root)
	case a.instance != "":
		return nil, fmt.Errorf("find data plane of instance %q in %s: there is none (foundry instances lists those that run)", a.instance, a.root)
	}
	return nil, fmt.Errorf("find data planes in %s: no server runs (the first container starts one, or foundryd agent; FOUNDRY_ROOT names another directory)", a.root)
}

// agents are those that --instance allows, whether they answer or not.
func (a *app) agents() (all []*agent, err error) {
	files, err := filepath.Glob(filepath.Join(a.root, "*", agentSocket))
	if strings.HasPrefix(a.instance, "/") {
		files = []string{filepath.Join(a.instance, agentSocket)}
	}
	if err != nil {
		return nil, fmt.Errorf("find data planes in %s: %w", a.root, err)
	}
	for _, file := range files {
		dir := filepath.Dir(file)
		if !strings.HasPrefix(a.instance, "/") && !strings.HasPrefix(filepath.Base(dir), a.instance) {
			continue
		}
		conn, err := grpc.NewClient("unix:"+file, grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer)))
		if err != nil {
			return nil, fmt.Errorf("connect to %s: %w", file, err)
		}
		all = append(all, &agent{api.NewAgentClient(conn), dir, conn})
	}
	return all, nil
}

// answering asks all at once for a sign of life. silent is why one that there
// may be did not give it.
func answering(ctx context.Context, all []*agent) (found []*agent, silent error) {
	ctx, cancel := context.WithTimeout(ctx, findTime)
	defer cancel()
	errs := make([]error, len(all))
	var asked sync.WaitGroup
	for i, g := range all {
		asked.Go(func() { _, errs[i] = g.GetVersion(ctx, &api.GetVersionRequest{}) })
	}
	asked.Wait()
	for i, err := range errs {
		if err == nil {
			found = append(found, all[i])
			continue
		}
		all[i].conn.Close()
		if grpcstatus.Code(err) != codes.Unavailable {
			silent = fmt.Errorf("ask server in %s: %w", all[i].dir, said(err))
		} else if !strings.Contains(err.Error(), "while dialing") { // else nobody listens: it is gone
			silent = fmt.Errorf("ask server in %s: it hangs up (too many watch, follow drops or capture there: end some; or it is ending)", all[i].dir)
		}
	}
	return found, silent
}

// said is what the server said, without gRPC's words around it.
func said(err error) error {
	s, ok := grpcstatus.FromError(err)
	switch {
	case !ok || err == nil:
		return err
	case s.Code() == codes.DeadlineExceeded:
		return errors.New("no answer in time: it is stopped, or hangs (`kill -USR1` of the pid in its file `server` writes its stacks to `log`)")
	case s.Code() == codes.Unimplemented:
		return fmt.Errorf("%s (the server is older than this program)", s.Message())
	case s.Code() == codes.Unavailable && strings.Contains(s.Message(), "error reading from server"):
		return errors.New("the server has gone (what it had set up goes on; the next container starts another)")
	}
	// Where the error was joined or wrapped, gRPC has its words in the message.
	return errors.New(strings.ReplaceAll(s.Message(), fmt.Sprintf("rpc error: code = %v desc = ", s.Code()), ""))
}

// asking is a command that talks to the data plane of one instance.
func (a *app) asking(do func(context.Context, *agent, []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		g, err := a.agent(cmd.Context())
		if err != nil {
			return err
		}
		defer g.conn.Close()
		ctx, cancel := context.WithTimeout(cmd.Context(), changeTime)
		defer cancel()
		return said(do(ctx, g, args))
	}
}

// following is asking, for as long as the user wants.
func (a *app) following(do func(context.Context, *agent, []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		g, err := a.agent(cmd.Context())
		if err != nil {
			return err
		}
		defer g.conn.Close()
		return said(do(cmd.Context(), g, args))
	}
}

// each does the same for each argument, and tells of all that fail.
func each(args []string, do func(string) error) error {
	var errs []error
	for _, arg := range args {
		if err := do(arg); err != nil {
			errs = append(errs, said(err))
		}
	}
	return errors.Join(errs...)
}
