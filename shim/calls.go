// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"context"
	"encoding/json"
	"syscall"

	task "github.com/containerd/containerd/api/runtime/task/v2"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/protobuf/types/known/emptypb"
)

// Kill sends a signal to init, to an exec, or to everything in the container.
func (s *Service) Kill(ctx context.Context, r *task.KillRequest) (*emptypb.Empty, error) {
	c, err := s.find(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, c.kill(ctx, r.ExecID, syscall.Signal(r.Signal), r.All)
}

// Pause freezes a container.
func (s *Service) Pause(ctx context.Context, r *task.PauseRequest) (*emptypb.Empty, error) {
	c, err := s.find(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, c.pause(ctx)
}

// Resume thaws a container.
func (s *Service) Resume(ctx context.Context, r *task.ResumeRequest) (*emptypb.Empty, error) {
	c, err := s.find(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, c.resume(ctx)
}

// Update changes the limits of a container.
func (s *Service) Update(ctx context.Context, r *task.UpdateTaskRequest) (*emptypb.Empty, error) {
	c, err := s.find(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	var resources specs.LinuxResources
	if err := json.Unmarshal(r.Resources.GetValue(), &resources); err != nil {
		return nil, badRequest("update %q: resources: %v", r.ID, err)
	}
	return &emptypb.Empty{}, c.update(ctx, &resources)
}

// Stats measures a container; until Delete also one that has stopped.
func (s *Service) Stats(ctx context.Context, r *task.StatsRequest) (*task.StatsResponse, error) {
	c, err := s.find(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	stats, err := c.stats()
	if err != nil {
		return nil, err
	}
	return &task.StatsResponse{Stats: stats}, nil
}

// Pids lists the processes in the container's cgroup. A containerd that starts
// adopts a container if there are any. One that the containerd before it, killed
// meanwhile, had begun to delete will be gone in a moment, so the end of that is
// waited for: adopted, it would stay in containerd's list for ever.
func (s *Service) Pids(ctx context.Context, r *task.PidsRequest) (*task.PidsResponse, error) {
	c, err := s.find(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	c.settle(ctx)
	if c, err = s.find(ctx, r.ID); err != nil {
		return nil, err
	}
	return &task.PidsResponse{Processes: c.processes(ctx, s)}, nil
}

// ResizePty changes the size of a terminal.
func (s *Service) ResizePty(ctx context.Context, r *task.ResizePtyRequest) (*emptypb.Empty, error) {
	c, err := s.find(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	io, err := c.io(r.ExecID, func(e *earlyIO) { e.width, e.height = r.Width, r.Height })
	if err != nil || io == nil || !io.HasTerminal() { // the runc shim ignores it too
		return &emptypb.Empty{}, err
	}
	return &emptypb.Empty{}, io.Resize(r.Width, r.Height)
}

// CloseIO ends stdin, once.
func (s *Service) CloseIO(ctx context.Context, r *task.CloseIORequest) (*emptypb.Empty, error) {
	c, err := s.find(ctx, r.ID)
	if err != nil || !r.Stdin {
		return &emptypb.Empty{}, err
	}
	io, err := c.io(r.ExecID, func(e *earlyIO) { e.closeStdin = true })
	if err != nil || io == nil {
		return &emptypb.Empty{}, err
	}
	return &emptypb.Empty{}, io.CloseStdin()
}
