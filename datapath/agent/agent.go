// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"foundry/datapath"
	"foundry/datapath/agent/api"
)

// The version of the API. The minor one is raised with every addition.
const (
	major = 1
	minor = 0
)

const (
	callTime    = time.Minute // for a call that has no deadline of its own
	callsAtOnce = 64          // of one connection
	captures    = 8           // at a time: each has a buffer in the kernel
	leaveTime   = time.Second // for calls that run when the agent is closed
)

// ErrClosed is what Start says after Close.
var ErrClosed = errors.New("start agent: it is closed")

// Config says what an Agent serves. BPFFS and Store are needed.
type Config struct {
	BPFFS   string // directory of this instance's pins; made when the data plane is opened
	Store   string // file with its records
	Version string // of the program
	Log     *slog.Logger
	MaxFDB  int // entries of the FDB; 0: as datapath.ControlConfig
	History int // changes that are kept for watches; 0: as datapath.ControlConfig
	// Prepare is called before the data plane is opened, to see to it that
	// BPFFS can be made; nil: it can.
	Prepare func() error
}

// Agent answers the calls of the API.
type Agent struct {
	api.UnimplementedAgentServer
	config   Config
	log      *slog.Logger
	server   *grpc.Server
	captures chan struct{}

	mu      sync.Mutex // control is opened once, also by calls that come at once
	control *datapath.Control
	closed  bool
}

// New makes an agent, which has not opened anything yet.
func New(c Config) *Agent {
	a := &Agent{config: c, log: c.Log, captures: make(chan struct{}, captures)}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	a.server = grpc.NewServer(grpc.MaxConcurrentStreams(callsAtOnce), grpc.UnaryInterceptor(a.unary), grpc.StreamInterceptor(a.stream))
	api.RegisterAgentServer(a.server, a)
	return a
}

// Start opens the data plane if it was in use before: what it had set up is
// taken over by the programs of this build, and followed from now on.
func (a *Agent) Start(ctx context.Context) error {
	a.mu.Lock()
	closed := a.closed
	a.mu.Unlock()
	if closed {
		return ErrClosed
	}
	_, err := a.inUse(ctx)
	return err
}

// Serve answers until Close, or until l fails. Who may connect is l's matter.
func (a *Agent) Serve(l net.Listener) error {
	if err := a.server.Serve(l); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("serve agent: %w", err)
	}
	return nil
}

// Close ends all calls and lets go of the data plane, which goes on.
func (a *Agent) Close() error {
	a.mu.Lock()
	control := a.control
	a.control, a.closed = nil, true
	a.mu.Unlock()
	var err error
	if control != nil {
		err = control.Close() // and with it all watches
	}
	forced := time.AfterFunc(leaveTime, a.server.Stop)
	defer forced.Stop()
	a.server.GracefulStop()
	return err
}

// open returns the data plane, which it opens if need be.
func (a *Agent) open(ctx context.Context) (*datapath.Control, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.openLocked(ctx)
}

// inUse returns the data plane if there is one: nothing is opened in order to
// say that there is nothing.
func (a *Agent) inUse(ctx context.Context) (*datapath.Control, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.control == nil {
		if _, err := os.Stat(a.config.Store); errors.Is(err, os.ErrNotExist) {
			return nil, nil
		}
	}
	return a.openLocked(ctx)
}

func (a *Agent) openLocked(ctx context.Context) (*datapath.Control, error) {
	if a.closed {
		return nil, status.Error(codes.Unavailable, "open data plane: the server is ending (its successor answers)")
	}
	if a.control != nil {
		return a.control, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, err // others held the lock for so long
	}
	if a.config.Prepare != nil {
		if err := a.config.Prepare(); err != nil {
			return nil, status.Error(codes.Unavailable, err.Error())
		}
	}
	// Who asked first may go away; what is opened is for all.
	control, err := datapath.StartControl(context.WithoutCancel(ctx), datapath.ControlConfig{Dir: a.config.BPFFS, Store: a.config.Store, Log: a.log,
		History: a.config.History, MaxFDB: a.config.MaxFDB})
	if err != nil {
		return nil, status.Error(codes.Unavailable, err.Error())
	}
	a.control = control
	return control, nil
}

// Purge is that of the API: afterwards nothing is in use.
func (a *Agent) Purge(ctx context.Context, _ *api.PurgeRequest) (*api.PurgeResponse, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, err := os.Stat(a.config.Store); a.control == nil && errors.Is(err, os.ErrNotExist) {
		return &api.PurgeResponse{}, datapath.Purge(a.config.BPFFS)
	}
	control, err := a.openLocked(ctx)
	if err != nil {
		return nil, err
	}
	if err := control.Purge(ctx); err != nil {
		return nil, err
	}
	a.control = nil
	a.log.Info("the data plane was purged")
	if err := os.Remove(a.config.Store); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("purge data plane: %w", err)
	}
	return &api.PurgeResponse{}, nil
}

// unary surrounds each call with an answer.
func (a *Agent) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (resp any, err error) {
	defer a.recover(info.FullMethod, &err)
	if _, has := ctx.Deadline(); !has {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, callTime)
		defer cancel()
	}
	resp, err = next(ctx, req)
	return resp, statusOf(err)
}

// stream surrounds each call with many answers.
func (a *Agent) stream(srv any, s grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) (err error) {
	defer a.recover(info.FullMethod, &err)
	return statusOf(next(srv, s))
}

// recover keeps a mistake in here from ending the process, which is all
// containers' server.
func (a *Agent) recover(method string, err *error) {
	if p := recover(); p != nil {
		a.log.Error("panic", "method", method, "cause", p, "stack", string(debug.Stack()))
		*err = status.Errorf(codes.Internal, "%s: a mistake in the server, which is in its log: %v", method, p)
	}
}
