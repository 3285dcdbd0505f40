// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"foundry/datapath"
	"foundry/datapath/agent/api"
)

// watchPart is how many events go in one message, when so many are there.
const watchPart = 256

// Watch is that of the API.
func (a *Agent) Watch(req *api.WatchRequest, to grpc.ServerStreamingServer[api.WatchResponse]) error {
	ctx := to.Context()
	c, err := a.open(ctx)
	if err != nil {
		return err
	}
	w := &watch{to: to, noFDB: req.GetNoFdb(), seen: req.GetSince()}
	var events <-chan datapath.Event
	if w.seen > 0 {
		events, err = c.Watch(ctx, w.seen)
	}
	if w.seen == 0 || errors.Is(err, datapath.ErrCompacted) {
		events, err = w.begin(ctx, c)
	}
	if err != nil {
		return err
	}
	return w.follow(ctx, events)
}

// watch is one caller of Watch. What is kept for it is one message: changes
// wait in the store, and who is so slow that they are no longer there is told.
type watch struct {
	to    grpc.ServerStreamingServer[api.WatchResponse]
	noFDB bool
	seen  uint64 // revision
	part  []*api.Event
}

// begin tells all that there is. Changes are watched before, so that none
// falls between.
func (w *watch) begin(ctx context.Context, c *datapath.Control) (<-chan datapath.Event, error) {
	events, err := c.Watch(ctx, 0)
	if err != nil {
		return nil, err
	}
	s := c.Snapshot()
	w.seen = s.Revision
	w.part = []*api.Event{{Revision: w.seen, Kind: api.Event_KIND_RESET}}
	var records []any
	if s.Underlay != nil {
		records = append(records, *s.Underlay)
	}
	records = append(records, each(s.Networks, toAny)...)
	records = append(records, each(s.Peers, toAny)...)
	records = append(records, each(s.Endpoints, toAny)...)
	for _, r := range records {
		if err := w.add(&api.Event{Revision: w.seen, Kind: api.Event_KIND_PUT}, r); err != nil {
			return nil, err
		}
	}
	for _, r := range s.Remotes { // there may be many: not all at once
		if err := w.add(&api.Event{Revision: w.seen, Kind: api.Event_KIND_PUT}, r); err != nil {
			return nil, err
		}
	}
	w.part = append(w.part, &api.Event{Revision: w.seen, Kind: api.Event_KIND_SYNCED})
	return events, w.send()
}

func toAny[R any](r R) any { return r }

// follow tells of changes as they come.
func (w *watch) follow(ctx context.Context, events <-chan datapath.Event) error {
	for e := range events {
		if err := w.change(e); err != nil {
			return err
		}
		if err := w.drain(events); err != nil {
			return err
		}
		if err := w.send(); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return status.Errorf(codes.Unavailable, "watch: the data plane is closed (go on from revision %d at its successor)", w.seen)
}

// drain takes what is there already.
func (w *watch) drain(events <-chan datapath.Event) error {
	for len(w.part) > 0 {
		select {
		case e, ok := <-events:
			if !ok {
				return nil // follow sees it too
			}
			if err := w.change(e); err != nil {
				return err
			}
		default:
			return nil
		}
	}
	return nil
}

func (w *watch) change(e datapath.Event) error {
	switch {
	case errors.Is(e.Err, datapath.ErrCompacted):
		return errors.Join(w.send(), status.Errorf(codes.ResourceExhausted, "watch: read too slowly: changes after revision %d are no longer kept (watch again: all will be told anew)", w.seen))
	case e.Err != nil:
		return fmt.Errorf("watch: %w", e.Err)
	case e.Revision <= w.seen:
		return nil // in what begin told
	}
	w.seen = e.Revision
	out := &api.Event{Revision: e.Revision, Kind: api.Event_KIND_PUT, Reason: e.Reason}
	if e.Deleted {
		out.Kind = api.Event_KIND_DELETED
	}
	return w.add(out, e.Record)
}

// add puts a record into an event and the event into the message.
func (w *watch) add(e *api.Event, record any) error {
	switch r := record.(type) {
	case datapath.NetworkRecord:
		e.Object = &api.Event_Network{Network: apiNetwork(r)}
	case datapath.EndpointRecord:
		e.Object = &api.Event_Endpoint{Endpoint: apiEndpoint(r)}
	case datapath.PeerRecord:
		e.Object = &api.Event_Vtep{Vtep: apiVTEP(r)}
	case datapath.UnderlayRecord:
		e.Object = &api.Event_Underlay{Underlay: apiUnderlay(r)}
	case datapath.RemoteRecord:
		if w.noFDB {
			return nil
		}
		e.Object = &api.Event_Fdb{Fdb: apiRemote(r)}
	}
	if w.part = append(w.part, e); len(w.part) < watchPart {
		return nil
	}
	return w.send()
}

func (w *watch) send() error {
	if len(w.part) == 0 {
		return nil
	}
	err := w.to.Send(&api.WatchResponse{Events: w.part})
	w.part = nil
	return err
}
