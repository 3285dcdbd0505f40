// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	task "github.com/containerd/containerd/api/runtime/task/v2"
	"github.com/containerd/ttrpc"
	"google.golang.org/protobuf/types/known/emptypb"

	"foundry/runtime"
	"foundry/shim/flight"
	"foundry/shim/stdio"
	"foundry/shim/trace"
)

// Config is what a Service works with; all but Log is required.
type Config struct {
	Runtime   *runtime.Runtime
	Pump      *stdio.Pump
	Publisher *Publisher
	Log       *slog.Logger  // nil: nothing is logged
	Tracer    *trace.Tracer // nil: nothing is traced
}

// Service is containerd's task service, for all containers of an instance.
// Its exported methods named after calls are those calls.
type Service struct {
	runtime *runtime.Runtime
	pump    *stdio.Pump
	pub     *Publisher
	log     *slog.Logger
	table   table
	remarks remarks
	flight  *flight.Recorder
	tracer  *trace.Tracer
	counts  *counts
	readers chan struct{} // a place for each that measures containers
}

// New returns a service without containers.
func New(cfg Config) *Service {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Service{
		runtime: cfg.Runtime, pump: cfg.Pump, pub: cfg.Publisher, log: withRequests(cfg.Log),
		tracer: cfg.Tracer, counts: newCounts(), readers: make(chan struct{}, maxReaders),
		table: table{containers: map[Key]*container{}}, flight: flight.New(flight.Config{}),
	}
}

// Containers is the number of ids in use, those being created included.
func (s *Service) Containers() int { return s.table.len() }

// Calls is how many calls have come so far.
func (s *Service) Calls() uint64 { return s.counts.requests.Load() }

// OnOOM is for the runtime to call when a container's OOM counter moves.
func (s *Service) OnOOM(namespace, id string) {
	if c := s.table.get(Key{namespace, id}); c != nil {
		c.tell(news{})
	}
}

// key is the name of the container a request is about.
func key(ctx context.Context, id string) (Key, error) {
	ns, ok := ttrpc.GetMetadataValue(ctx, "containerd-namespace-ttrpc")
	if !ok || ns == "" {
		return Key{}, badRequest("no namespace in the metadata")
	}
	if id == "" {
		return Key{}, badRequest("no container id")
	}
	if len(id) > maxName || len(ns) > maxName { // they are names of directories
		return Key{}, badRequest("container id or namespace of more than %d bytes: %.20q...", maxName, id)
	}
	return Key{ns, id}, nil
}

// find returns a container that was created.
func (s *Service) find(ctx context.Context, id string) (*container, error) {
	k, err := key(ctx, id)
	if err != nil {
		return nil, err
	}
	c := s.table.get(k)
	if c == nil || !c.visible() {
		return nil, fmt.Errorf("%q: %w", id, errNoContainer)
	}
	return c, nil
}

// Create makes a container up to the point where Start lets it run.
func (s *Service) Create(ctx context.Context, r *task.CreateTaskRequest) (*task.CreateTaskResponse, error) {
	k, err := key(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	pid, err := s.create(ctx, k, r)
	if err != nil {
		return nil, err
	}
	return &task.CreateTaskResponse{Pid: uint32(pid)}, nil
}

// Start starts init or an exec.
func (s *Service) Start(ctx context.Context, r *task.StartRequest) (*task.StartResponse, error) {
	c, err := s.find(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	var pid int
	if r.ExecID == "" {
		c.span = trace.From(ctx)
		pid, err = c.start(ctx)
	} else {
		pid, err = c.startExec(ctx, s, r.ExecID)
	}
	return &task.StartResponse{Pid: uint32(pid)}, err
}

// Delete deletes a container that has stopped, or an exec.
func (s *Service) Delete(ctx context.Context, r *task.DeleteRequest) (*task.DeleteResponse, error) {
	c, err := s.find(ctx, r.ID)
	if err != nil && r.ExecID == "" {
		c, err = s.cancelCreate(ctx, r.ID)
	}
	if err != nil {
		return nil, err
	}
	var p Proc
	if r.ExecID == "" {
		p, err = s.remove(ctx, c, drainTime)
	} else {
		p, err = c.removeExec(ctx, r.ExecID)
	}
	return deleteResponse(p), err
}

// Exec takes the id of an exec; Start runs it.
func (s *Service) Exec(ctx context.Context, r *task.ExecProcessRequest) (*emptypb.Empty, error) {
	c, err := s.find(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	spec, err := parseProcess(r)
	if err != nil {
		return nil, err
	}
	urls := streams{Stdin: r.Stdin, Stdout: r.Stdout, Stderr: r.Stderr, Terminal: r.Terminal}
	return &emptypb.Empty{}, c.add(r.ExecID, spec, urls)
}

// State answers from memory.
func (s *Service) State(ctx context.Context, r *task.StateRequest) (*task.StateResponse, error) {
	c, err := s.find(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	p, live, err := c.look(r.ExecID)
	if err != nil {
		return nil, err
	}
	return &task.StateResponse{
		ID: c.processID(r.ExecID), Bundle: c.bundle, Pid: uint32(p.Pid), Status: c.status(p), ExecID: r.ExecID,
		Stdin: live.urls.Stdin, Stdout: live.urls.Stdout, Stderr: live.urls.Stderr, Terminal: live.urls.Terminal,
		ExitStatus: p.Exit.Status, ExitedAt: timestamp(p.Exit.At),
	}, nil
}

// Wait answers when the process has ended and its TaskExit is queued.
func (s *Service) Wait(ctx context.Context, r *task.WaitRequest) (*task.WaitResponse, error) {
	c, err := s.find(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	p, err := c.wait(ctx, r.ExecID)
	if err != nil {
		return nil, err
	}
	return &task.WaitResponse{ExitStatus: p.Exit.Status, ExitedAt: timestamp(p.Exit.At)}, nil
}

// Connect answers for any id, because containerd asks to learn whether the
// shim lives at all.
func (s *Service) Connect(ctx context.Context, r *task.ConnectRequest) (*task.ConnectResponse, error) {
	resp := &task.ConnectResponse{ShimPid: uint32(os.Getpid())}
	if c, err := s.find(ctx, r.ID); err == nil {
		p, _, _ := c.look("")
		resp.TaskPid = uint32(p.Pid)
	}
	return resp, nil
}

// Shutdown stops nothing: other containers live here, and a server without
// any is ready for the next one.
func (s *Service) Shutdown(context.Context, *task.ShutdownRequest) (*emptypb.Empty, error) {
	return &emptypb.Empty{}, nil
}

// Checkpoint writes a container's processes to files, with criu.
func (s *Service) Checkpoint(ctx context.Context, r *task.CheckpointTaskRequest) (*emptypb.Empty, error) {
	c, err := s.find(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	cfg, err := checkpointConfig(r)
	if err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, c.checkpoint(ctx, cfg)
}
