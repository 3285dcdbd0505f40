// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"foundry/datapath"
	"foundry/datapath/agent/api"
)

// fdbPart is how many entries of the FDB go in one message.
const fdbPart = 1024

// GetVersion is that of the API.
func (a *Agent) GetVersion(context.Context, *api.GetVersionRequest) (*api.GetVersionResponse, error) {
	return &api.GetVersionResponse{Major: major, Minor: minor, Server: a.config.Version}, nil
}

// GetStatus is that of the API.
func (a *Agent) GetStatus(ctx context.Context, req *api.GetStatusRequest) (*api.GetStatusResponse, error) {
	c, err := a.inUse(ctx)
	resp := &api.GetStatusResponse{Bpffs: a.config.BPFFS, Store: a.config.Store, Abi: datapath.ABI}
	if c == nil {
		return resp, err
	}
	s := c.Status()
	resp.Revision, resp.Oldest, resp.LastError = s.Revision, s.Oldest, s.LastError
	resp.Networks, resp.Endpoints, resp.Broken = uint32(s.Networks), uint32(s.Endpoints), uint32(s.Broken)
	resp.Vteps, resp.StaleVteps, resp.Remotes = uint32(s.Peers), uint32(s.StalePeers), uint32(s.Remotes)
	resp.Repaired, resp.Removed, resp.Lost = s.Repaired, s.Removed, s.Lost
	if u, ok := c.Underlay(); ok {
		resp.Underlay = apiUnderlay(u)
	}
	if req.GetCapabilities() {
		able, err := c.Capabilities(ctx)
		if err != nil {
			return nil, err
		}
		resp.Capabilities = each(able.List, func(n datapath.Capability) *api.Capability {
			return &api.Capability{Name: n.Name, Value: n.Value, Reason: n.Reason}
		})
	}
	return resp, nil
}

// AddNetwork is that of the API.
func (a *Agent) AddNetwork(ctx context.Context, req *api.AddNetworkRequest) (*api.AddNetworkResponse, error) {
	c, err := a.open(ctx)
	if err != nil {
		return nil, err
	}
	put := c.AddNetwork
	if req.GetReplace() {
		put = c.SetNetwork
	}
	r, err := put(ctx, networkRecord(req.GetNetwork()))
	return &api.AddNetworkResponse{Network: apiNetwork(r)}, err
}

// DeleteNetwork is that of the API.
func (a *Agent) DeleteNetwork(ctx context.Context, req *api.DeleteNetworkRequest) (*api.DeleteNetworkResponse, error) {
	c, err := a.inUse(ctx)
	if c != nil {
		err = c.DeleteNetwork(ctx, req.GetVni())
	}
	return &api.DeleteNetworkResponse{}, err
}

// ListNetworks is that of the API.
func (a *Agent) ListNetworks(ctx context.Context, _ *api.ListNetworksRequest) (*api.ListNetworksResponse, error) {
	resp := &api.ListNetworksResponse{}
	c, err := a.inUse(ctx)
	if c != nil {
		resp.Networks = each(c.ListNetworks(), apiNetwork)
	}
	return resp, err
}

func each[R, M any](records []R, message func(R) M) []M {
	list := make([]M, 0, len(records))
	for _, r := range records {
		list = append(list, message(r))
	}
	return list
}

// AddEndpoint is that of the API.
func (a *Agent) AddEndpoint(ctx context.Context, req *api.AddEndpointRequest) (*api.AddEndpointResponse, error) {
	r, err := endpointRecord(req.GetEndpoint())
	if err != nil {
		return nil, err
	}
	c, err := a.open(ctx)
	if err != nil {
		return nil, err
	}
	r, err = c.AddEndpoint(ctx, r)
	return &api.AddEndpointResponse{Endpoint: apiEndpoint(r)}, err
}

// DeleteEndpoint is that of the API.
func (a *Agent) DeleteEndpoint(ctx context.Context, req *api.DeleteEndpointRequest) (*api.DeleteEndpointResponse, error) {
	c, err := a.inUse(ctx)
	if c != nil {
		err = c.DeleteEndpoint(ctx, req.GetName())
	}
	return &api.DeleteEndpointResponse{}, err
}

// ListEndpoints is that of the API.
func (a *Agent) ListEndpoints(ctx context.Context, req *api.ListEndpointsRequest) (*api.ListEndpointsResponse, error) {
	resp := &api.ListEndpointsResponse{}
	c, err := a.inUse(ctx)
	if c == nil {
		return resp, err
	}
	for _, r := range c.ListEndpoints() {
		if req.Vni == nil || req.GetVni() == r.VNI {
			resp.Endpoints = append(resp.Endpoints, apiEndpoint(r))
		}
	}
	return resp, nil
}

// SetUnderlay is that of the API.
func (a *Agent) SetUnderlay(ctx context.Context, req *api.SetUnderlayRequest) (*api.SetUnderlayResponse, error) {
	r, err := underlayRecord(req.GetUnderlay())
	if err != nil {
		return nil, err
	}
	c, err := a.open(ctx)
	switch {
	case err != nil:
		return nil, err
	case r.Ifname == "":
		return &api.SetUnderlayResponse{}, c.DeleteUnderlay(ctx)
	}
	r, err = c.SetUnderlay(ctx, r)
	return &api.SetUnderlayResponse{Underlay: apiUnderlay(r)}, err
}

// GetUnderlay is that of the API.
func (a *Agent) GetUnderlay(ctx context.Context, _ *api.GetUnderlayRequest) (*api.GetUnderlayResponse, error) {
	resp := &api.GetUnderlayResponse{}
	c, err := a.inUse(ctx)
	if c == nil {
		return resp, err
	}
	if u, ok := c.Underlay(); ok {
		resp.Underlay = apiUnderlay(u)
	}
	return resp, nil
}

// AddVTEP is that of the API.
func (a *Agent) AddVTEP(ctx context.Context, req *api.AddVTEPRequest) (*api.AddVTEPResponse, error) {
	r, err := peerRecord("add", req.GetVtep())
	if err != nil {
		return nil, err
	}
	c, err := a.open(ctx)
	if err != nil {
		return nil, err
	}
	put := c.AddPeer
	if req.GetReplace() {
		put = c.SetPeer
	}
	r, err = put(ctx, r)
	return &api.AddVTEPResponse{Vtep: apiVTEP(r)}, err
}

// DeleteVTEP is that of the API.
func (a *Agent) DeleteVTEP(ctx context.Context, req *api.DeleteVTEPRequest) (*api.DeleteVTEPResponse, error) {
	r, err := peerRecord("delete", &api.VTEP{Address: req.GetAddress()})
	if err != nil {
		return nil, err
	}
	c, err := a.inUse(ctx)
	if c != nil {
		err = c.DeletePeer(ctx, r.IP)
	}
	return &api.DeleteVTEPResponse{}, err
}

// ListVTEPs is that of the API.
func (a *Agent) ListVTEPs(ctx context.Context, _ *api.ListVTEPsRequest) (*api.ListVTEPsResponse, error) {
	resp := &api.ListVTEPsResponse{}
	c, err := a.inUse(ctx)
	if c != nil {
		resp.Vteps = each(c.ListPeers(), apiVTEP)
	}
	return resp, err
}

// AddFDB is that of the API.
func (a *Agent) AddFDB(ctx context.Context, req *api.AddFDBRequest) (*api.AddFDBResponse, error) {
	list, err := remoteRecords("add", req.GetEntries())
	if err != nil {
		return nil, err
	}
	c, err := a.open(ctx)
	if err != nil {
		return nil, err
	}
	put := c.AddRemotes
	if req.GetReplace() {
		put = c.SetRemotes
	}
	return &api.AddFDBResponse{}, put(ctx, list)
}

// DeleteFDB is that of the API.
func (a *Agent) DeleteFDB(ctx context.Context, req *api.DeleteFDBRequest) (*api.DeleteFDBResponse, error) {
	list, err := remoteRecords("delete", req.GetEntries())
	if err != nil {
		return nil, err
	}
	keys := make([]datapath.RemoteKey, 0, len(list))
	for _, r := range list {
		keys = append(keys, datapath.RemoteKey{VNI: r.VNI, MAC: r.MAC})
	}
	c, err := a.inUse(ctx)
	if c != nil {
		err = c.DeleteRemotes(ctx, keys)
	}
	return &api.DeleteFDBResponse{}, err
}

// ListFDB is that of the API.
func (a *Agent) ListFDB(req *api.ListFDBRequest, to grpc.ServerStreamingServer[api.ListFDBResponse]) error {
	in := &reader{verb: "list", kind: datapath.KindRemote, name: "entries"}
	mac, peer := in.mac(req.GetMac()), in.addr("VTEP", req.GetVtep())
	if in.err != nil {
		return in.err
	}
	c, err := a.inUse(to.Context())
	if c == nil {
		return err
	}
	var part []*api.FDBEntry
	add := func(vni uint32, m datapath.MAC, e *api.FDBEntry) error {
		if req.Vni != nil && req.GetVni() != vni || mac != (datapath.MAC{}) && mac != m {
			return nil
		}
		if part = append(part, e); len(part) < fdbPart {
			return nil
		}
		err := to.Send(&api.ListFDBResponse{Entries: part})
		part = nil
		return err
	}
	for _, r := range c.ListEndpoints() {
		if peer.IsValid() {
			break
		}
		if err := add(r.VNI, r.MAC, apiLocal(r)); err != nil {
			return err
		}
	}
	for _, r := range c.ListRemotes() {
		if peer.IsValid() && r.Peer != peer {
			continue
		}
		if err := add(r.VNI, r.MAC, apiRemote(r)); err != nil {
			return err
		}
	}
	if len(part) == 0 {
		return nil
	}
	return to.Send(&api.ListFDBResponse{Entries: part})
}

// ListCounters is that of the API.
func (a *Agent) ListCounters(ctx context.Context, req *api.ListCountersRequest) (*api.ListCountersResponse, error) {
	resp := &api.ListCountersResponse{}
	c, err := a.inUse(ctx)
	if err != nil {
		return nil, err
	}
	if c == nil {
		if req.GetEndpoint() != "" {
			err = status.Errorf(codes.NotFound, "read counters of endpoint %s: there are no endpoints", req.GetEndpoint())
		}
		return resp, err
	}
	counters, err := c.Counters(req.GetEndpoint())
	resp.Counters = each(counters, func(n datapath.Counter) *api.Counter {
		return &api.Counter{Endpoint: n.Endpoint, Direction: n.Direction, Action: n.Action, Reason: n.Reason, Packets: n.Packets, Bytes: n.Bytes}
	})
	return resp, err
}

// Reconcile is that of the API.
func (a *Agent) Reconcile(ctx context.Context, req *api.ReconcileRequest) (*api.ReconcileResponse, error) {
	resp := &api.ReconcileResponse{}
	c, err := a.inUse(ctx)
	if c == nil {
		return resp, err
	}
	changes, err := c.Reconcile(ctx, req.GetDryRun())
	resp.Changes = each(changes, func(n datapath.Change) *api.Change {
		return &api.Change{Verb: n.Verb, What: n.Object, Key: n.Key, Count: uint32(n.Count)}
	})
	return resp, err
}
