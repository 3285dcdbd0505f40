// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"sync"
	"syscall"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"foundry/datapath"
	"foundry/datapath/agent/api"
)

// capturePart is how much goes in one message.
const capturePart = 256 << 10

// Capture is that of the API.
func (a *Agent) Capture(req *api.CaptureRequest, to grpc.ServerStreamingServer[api.CaptureResponse]) error {
	select {
	case a.captures <- struct{}{}:
		defer func() { <-a.captures }()
	default:
		return status.Errorf(codes.ResourceExhausted, "capture endpoint %s: there are %d captures already (end one)", req.GetEndpoint(), captures)
	}
	c, err := a.inUse(to.Context())
	if err != nil {
		return err
	}
	if c == nil {
		return status.Errorf(codes.NotFound, "capture endpoint %s: there are no endpoints", req.GetEndpoint())
	}
	frames, ifindex, err := c.Capture(req.GetEndpoint(), int(min(req.GetSnaplen(), datapath.MaxSnaplen)))
	if err != nil {
		return err
	}
	defer frames.Close()
	x := &capture{name: req.GetEndpoint(), ifindex: uint32(ifindex), control: c, frames: frames, to: to}
	if !req.GetNoDrops() {
		if x.drops, err = c.Datapath().Drops(); err != nil {
			return err
		}
		defer x.drops.Close()
	}
	return x.run(to.Context())
}

// capture is one caller of Capture.
type capture struct {
	name    string
	ifindex uint32
	control *datapath.Control
	frames  *datapath.Capture
	drops   *datapath.Drops // nil: not wanted

	mu sync.Mutex // one sends at a time
	to grpc.ServerStreamingServer[api.CaptureResponse]
}

// run copies frames, and drops beside them, until one of them ends.
func (x *capture) run(ctx context.Context) error {
	if err := x.send(&api.CaptureResponse{}); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var both sync.WaitGroup
	for _, copyAll := range []func(context.Context) error{x.copyFrames, x.copyDrops} {
		both.Go(func() { cancel(copyAll(ctx)) })
	}
	both.Wait()
	return context.Cause(ctx)
}

func (x *capture) send(resp *api.CaptureResponse) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.to.Send(resp)
}

func (x *capture) copyFrames(ctx context.Context) error {
	for {
		f, err := x.frames.Next(ctx)
		if errors.Is(err, syscall.ENETDOWN) {
			return status.Errorf(codes.FailedPrecondition, "capture endpoint %s: its device went down, or is gone (start again when it is back)", x.name)
		} else if err != nil {
			return err
		}
		resp := &api.CaptureResponse{Lost: x.frames.Lost()}
		size := 0
		for more := true; more; f, more = x.frames.Waiting() {
			resp.Frames = append(resp.Frames, apiFrame(f))
			if size += len(f.Data); size >= capturePart {
				break
			}
		}
		if err := x.send(resp); err != nil {
			return err
		}
	}
}

func apiFrame(f datapath.Frame) *api.Frame {
	out := &api.Frame{Time: timestamppb.New(f.Time), Direction: api.Frame_DIRECTION_TO, Length: uint32(f.Len), Data: f.Data}
	if f.From {
		out.Direction = api.Frame_DIRECTION_FROM
	}
	return out
}

// copyDrops adds what the programs dropped of what the endpoint sent.
func (x *capture) copyDrops(ctx context.Context) error {
	if x.drops == nil {
		<-ctx.Done()
		return ctx.Err()
	}
	for {
		d, lost, err := x.drops.Next(ctx)
		if err != nil {
			return err
		}
		if d.Endpoint != x.ifindex {
			continue
		}
		frame := &api.Frame{Time: timestamppb.New(d.Time), Direction: api.Frame_DIRECTION_FROM, Length: d.Len, Data: d.Head, Drop: apiDrop(x.control, d)}
		if err := x.send(&api.CaptureResponse{Frames: []*api.Frame{frame}, Lost: lost}); err != nil {
			return err
		}
	}
}
