// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"foundry/datapath/agent/api"
)

// Two containers are put into a network over the socket and reach each other,
// the same twice is a success, and another agent finds all as it was.
func TestEndpoints(t *testing.T) {
	s := newSite(t)
	s.network(100)
	a, b := s.endpoint("a", 100, "10.0.0.1/24"), s.endpoint("b", 100, "10.0.0.2/24")
	if err := answers(t, a, b, "10.0.0.2"); err != nil {
		t.Fatalf("a asks b: %v", err)
	}
	before := must[*api.ListEndpointsResponse](t)(s.ListEndpoints(t.Context(), &api.ListEndpointsRequest{}))
	if len(before.GetEndpoints()) != 2 || before.GetEndpoints()[0].GetName() != "a" || before.GetEndpoints()[0].GetIfindex() == 0 {
		t.Fatalf("got %v", before)
	}
	again := must[*api.AddEndpointResponse](t)(s.AddEndpoint(t.Context(), &api.AddEndpointRequest{Endpoint: before.GetEndpoints()[0]}))
	if !proto.Equal(again.GetEndpoint(), before.GetEndpoints()[0]) {
		t.Errorf("what was listed, added again: got %v", again)
	}
	s.restart()
	after := must[*api.ListEndpointsResponse](t)(s.ListEndpoints(t.Context(), &api.ListEndpointsRequest{}))
	if !proto.Equal(after, before) {
		t.Errorf("after a restart: got %v, want %v", after, before)
	}
	if err := answers(t, b, a, "10.0.0.1"); err != nil {
		t.Errorf("b asks a after a restart: %v", err)
	}
	counters := must[*api.ListCountersResponse](t)(s.ListCounters(t.Context(), &api.ListCountersRequest{Endpoint: "a"}))
	var sent uint64
	for _, c := range counters.GetCounters() {
		if c.GetEndpoint() != "a" {
			t.Errorf("asked for a, got %v", c)
		}
		if c.GetDirection() == "from" && c.GetReason() == "local" {
			sent = c.GetPackets()
		}
	}
	if sent == 0 {
		t.Errorf("nothing was counted: %v", counters)
	}
	for range 2 { // absent is success
		must[*api.DeleteEndpointResponse](t)(s.DeleteEndpoint(t.Context(), &api.DeleteEndpointRequest{Name: "b"}))
	}
	left := must[*api.ListEndpointsResponse](t)(s.ListEndpoints(t.Context(), &api.ListEndpointsRequest{Vni: proto.Uint32(100)}))
	if len(left.GetEndpoints()) != 1 || left.GetEndpoints()[0].GetName() != "a" {
		t.Errorf("after b was deleted: got %v", left)
	}
}

// failing is a call that fails, its code, what its text has, and what its
// details name.
type failing struct {
	do     func() error
	code   codes.Code
	text   string
	object string
}

func (f failing) check(t *testing.T, name string) {
	t.Helper()
	err := f.do()
	if status.Code(err) != f.code || !strings.Contains(status.Convert(err).Message(), f.text) {
		t.Errorf("%s: got %v, want %v with %q", name, err, f.code, f.text)
	}
	if object := objectOf(err); object != f.object {
		t.Errorf("%s: got details about %q, want %q", name, object, f.object)
	}
}

// An object that cannot be had: the call says what about whom, and what helps.
func TestFailures(t *testing.T) {
	s := newSite(t)
	ctx := t.Context()
	s.network(100)
	c := s.endpoint("a", 100, "10.0.0.1/24")
	add := func(e *api.Endpoint) func() error {
		return func() error {
			_, err := s.AddEndpoint(ctx, &api.AddEndpointRequest{Endpoint: e})
			return err
		}
	}
	for name, try := range map[string]failing{
		"other address": {add(&api.Endpoint{Name: "a", Vni: 100, Netns: c.path, Addresses: []string{"10.0.0.9/24"}}), codes.AlreadyExists, "add endpoint a", "a"},
		"taken address": {add(&api.Endpoint{Name: "b", Vni: 100, Netns: c.path, Ifname: "eth1", Addresses: []string{"10.0.0.1/24"}}), codes.AlreadyExists, "endpoint a", "b"},
		"no network":    {add(&api.Endpoint{Name: "b", Vni: 7, Netns: c.path, Addresses: []string{"10.0.0.2/24"}}), codes.FailedPrecondition, "network 7", "b"},
		"no netns":      {add(&api.Endpoint{Name: "b", Vni: 100, Netns: "/nonexistent", Addresses: []string{"10.0.0.2/24"}}), codes.FailedPrecondition, "/nonexistent", "b"},
		"bad address":   {add(&api.Endpoint{Name: "b", Vni: 100, Netns: c.path, Addresses: []string{"10.0.0.2"}}), codes.InvalidArgument, `"10.0.0.2"`, "b"},
		"bad mode":      {add(&api.Endpoint{Name: "b", Vni: 100, Netns: c.path, Mode: 99}), codes.InvalidArgument, "99", "b"},
		"bad VNI": {func() error {
			_, err := s.AddNetwork(ctx, &api.AddNetworkRequest{Network: &api.Network{Vni: 1 << 24}})
			return err
		}, codes.InvalidArgument, "16777216", "16777216"},
		"network in use": {func() error {
			_, err := s.DeleteNetwork(ctx, &api.DeleteNetworkRequest{Vni: 100})
			return err
		}, codes.FailedPrecondition, "endpoint a", "100"},
		"other network": {func() error {
			_, err := s.AddNetwork(ctx, &api.AddNetworkRequest{Network: &api.Network{Vni: 100, Mtu: 1400}})
			return err
		}, codes.AlreadyExists, "network 100", "100"},
		"no peer": {func() error {
			_, err := s.AddFDB(ctx, &api.AddFDBRequest{Entries: []*api.FDBEntry{{Vni: 100, Mac: "02:00:00:00:01:01", Vtep: "192.0.2.9"}}})
			return err
		}, codes.FailedPrecondition, "192.0.2.9", "100/02:00:00:00:01:01"},
		"bad MAC": {func() error {
			_, err := s.DeleteFDB(ctx, &api.DeleteFDBRequest{Entries: []*api.FDBEntry{{Vni: 100, Mac: "2:1"}}})
			return err
		}, codes.InvalidArgument, `"2:1"`, "2:1"},
		"no uplink": {func() error {
			_, err := s.SetUnderlay(ctx, &api.SetUnderlayRequest{Underlay: &api.Underlay{Ifname: "nowhere"}})
			return err
		}, codes.FailedPrecondition, "nowhere", "nowhere"},
	} {
		try.check(t, name)
	}
}

// The same of calls that look, and of one that has no time left.
func TestFailuresOfReaders(t *testing.T) {
	s := newSite(t)
	ctx := t.Context()
	s.network(100)
	for name, try := range map[string]failing{
		"counters of nobody": {func() error {
			_, err := s.ListCounters(ctx, &api.ListCountersRequest{Endpoint: "x"})
			return err
		}, codes.NotFound, "endpoint x", "x"},
		"capture of nobody": {func() error {
			stream, err := s.Capture(ctx, &api.CaptureRequest{Endpoint: "x"})
			if err == nil {
				_, err = stream.Recv()
			}
			return err
		}, codes.NotFound, "endpoint x", "x"},
		"drops of no reason": {func() error {
			stream, err := s.WatchDrops(ctx, &api.WatchDropsRequest{Reasons: []string{"boredom"}})
			if err == nil {
				_, err = stream.Recv()
			}
			return err
		}, codes.InvalidArgument, "fdb_miss", ""},
		"too late": {func() error {
			ctx, cancel := context.WithTimeout(ctx, time.Nanosecond)
			defer cancel()
			_, err := s.AddNetwork(ctx, &api.AddNetworkRequest{Network: &api.Network{Vni: 1}})
			return err
		}, codes.DeadlineExceeded, "", ""},
	} {
		try.check(t, name)
	}
}

// objectOf is what the details of an error name.
func objectOf(err error) string {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ResourceInfo); ok {
			return info.GetResourceName()
		}
	}
	return ""
}

// Until somebody adds something, nothing is opened: questions have the answer
// that there is nothing.
func TestNothingIsOpened(t *testing.T) {
	s := newSite(t)
	must[*api.GetVersionResponse](t)(s.GetVersion(t.Context(), &api.GetVersionRequest{}))
	must[*api.GetStatusResponse](t)(s.GetStatus(t.Context(), &api.GetStatusRequest{}))
	must[*api.ListNetworksResponse](t)(s.ListNetworks(t.Context(), &api.ListNetworksRequest{}))
	must[*api.ListEndpointsResponse](t)(s.ListEndpoints(t.Context(), &api.ListEndpointsRequest{}))
	must[*api.ListVTEPsResponse](t)(s.ListVTEPs(t.Context(), &api.ListVTEPsRequest{}))
	must[*api.ListCountersResponse](t)(s.ListCounters(t.Context(), &api.ListCountersRequest{}))
	must[*api.DeleteNetworkResponse](t)(s.DeleteNetwork(t.Context(), &api.DeleteNetworkRequest{Vni: 1}))
	must[*api.DeleteEndpointResponse](t)(s.DeleteEndpoint(t.Context(), &api.DeleteEndpointRequest{Name: "a"}))
	must[*api.ReconcileResponse](t)(s.Reconcile(t.Context(), &api.ReconcileRequest{}))
	must[*api.PurgeResponse](t)(s.Purge(t.Context(), &api.PurgeRequest{}))
	if list := s.fdb(&api.ListFDBRequest{}); len(list) != 0 {
		t.Errorf("got %v", list)
	}
	for _, path := range []string{s.config.BPFFS, s.config.Store} {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is there: %v", path, err)
		}
	}
	s.network(100)
	if got := must[*api.GetStatusResponse](t)(s.GetStatus(t.Context(), &api.GetStatusRequest{})); got.GetNetworks() != 1 || got.GetRevision() == 0 {
		t.Errorf("status: got %v", got)
	}
	for range 2 {
		must[*api.PurgeResponse](t)(s.Purge(t.Context(), &api.PurgeRequest{}))
	}
	for _, path := range []string{s.config.BPFFS, s.config.Store} {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("after a purge %s is there: %v", path, err)
		}
	}
	s.network(100) // and again
}

// Where no data plane can be had, every call says why, until it can.
func TestOpenFails(t *testing.T) {
	s := newSite(t)
	cause := errors.New("mount bpffs: the moon is full")
	s.config.Prepare = func() error { return cause }
	s.restart()
	add := func() error {
		_, err := s.AddNetwork(t.Context(), &api.AddNetworkRequest{Network: &api.Network{Vni: 1}})
		return err
	}
	if err := add(); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "the moon is full") {
		t.Errorf("got %v", err)
	}
	must[*api.GetVersionResponse](t)(s.GetVersion(t.Context(), &api.GetVersionRequest{}))
	cause = nil
	if err := add(); err != nil {
		t.Errorf("when it can be had: %v", err)
	}
}
