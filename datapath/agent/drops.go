// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"foundry/datapath"
	"foundry/datapath/agent/api"
)

// WatchDrops is that of the API.
func (a *Agent) WatchDrops(req *api.WatchDropsRequest, to grpc.ServerStreamingServer[api.WatchDropsResponse]) error {
	c, err := a.open(to.Context())
	if err != nil {
		return err
	}
	if err := knownReasons(c, req.GetReasons()); err != nil {
		return err
	}
	drops, err := c.Datapath().Drops()
	if err != nil {
		return err
	}
	defer drops.Close()
	for resp := (&api.WatchDropsResponse{}); ; {
		if err := to.Send(resp); err != nil {
			return err
		}
		if resp, err = nextDrops(to.Context(), c, drops, req); errors.Is(err, os.ErrClosed) {
			return status.Error(codes.Unavailable, "watch drops: the data plane is closed (it was purged, or the server is ending: watch again)")
		} else if err != nil {
			return err
		}
	}
}

func knownReasons(c *datapath.Control, wanted []string) error {
	known := c.Reasons()
	for _, r := range wanted {
		if !slices.Contains(known, r) {
			return status.Errorf(codes.InvalidArgument, "watch drops: there is no reason %q (there are %s)", r, strings.Join(known, ", "))
		}
	}
	return nil
}

// nextDrops waits for a drop that is wanted, or for one that nobody can have
// any more, and takes those along that are there.
func nextDrops(ctx context.Context, c *datapath.Control, drops *datapath.Drops, req *api.WatchDropsRequest) (*api.WatchDropsResponse, error) {
	resp := &api.WatchDropsResponse{}
	for len(resp.Drops) == 0 && resp.Lost == 0 {
		drop, lost, err := drops.Next(ctx)
		if err != nil {
			return nil, err
		}
		for more := true; more; drop, more = drops.Waiting() {
			d := apiDrop(c, drop)
			if req.GetEndpoint() != "" && d.GetEndpoint() != req.GetEndpoint() || req.Vni != nil && d.GetVni() != req.GetVni() ||
				len(req.GetReasons()) > 0 && !slices.Contains(req.GetReasons(), d.GetReason()) {
				continue
			}
			resp.Drops = append(resp.Drops, d)
		}
		resp.Lost += lost
	}
	return resp, nil
}

func apiDrop(c *datapath.Control, d datapath.Drop) *api.Drop {
	return &api.Drop{
		Time: timestamppb.New(d.Time), Reason: d.Reason, Endpoint: c.EndpointAt(int(d.Endpoint)), Ifindex: uint32(d.Ifindex), Vni: d.VNI,
		Length: d.Len, Head: d.Head, Suppressed: d.Suppressed, Line: d.Line,
	}
}
