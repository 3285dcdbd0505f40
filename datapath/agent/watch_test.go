// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"foundry/datapath/agent/api"
)

// receive reads parts until enough is true of one.
func receive[R any](t *testing.T, from grpc.ServerStreamingClient[R], enough func(*R) bool) {
	t.Helper()
	for {
		part, err := from.Recv()
		if err != nil {
			t.Fatalf("wait for a part: %v", err)
		}
		if enough(part) {
			return
		}
	}
}

// soon is a context that ends before the test's patience does.
func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// changes reads a watch until it has told of an object, and returns what it
// told, one a line.
func (s *site) changes(from grpc.ServerStreamingClient[api.WatchResponse], until string) (lines string, revision uint64) {
	s.Helper()
	receive(s.T, from, func(part *api.WatchResponse) bool {
		for _, e := range part.GetEvents() {
			line := strings.ToLower(strings.TrimPrefix(e.GetKind().String(), "KIND_"))
			switch o := e.GetObject().(type) {
			case *api.Event_Network:
				line += fmt.Sprint(" network ", o.Network.GetVni())
			case *api.Event_Endpoint:
				line += " endpoint " + o.Endpoint.GetName()
			case *api.Event_Fdb:
				line += " fdb " + o.Fdb.GetMac()
			}
			lines, revision = lines+line+"\n", e.GetRevision()
		}
		return strings.HasSuffix(lines, until+"\n")
	})
	return lines, revision
}

func (s *site) watch(req *api.WatchRequest) grpc.ServerStreamingClient[api.WatchResponse] {
	s.Helper()
	stream, err := s.Watch(soon(s.T), req)
	if err != nil {
		s.Fatal(err)
	}
	return stream
}

// A watch begins with all that there is, tells of what comes, ends with the
// agent, and goes on at the next one where it was.
func TestWatch(t *testing.T) {
	s := newSite(t)
	s.network(100)
	s.endpoint("a", 100, "10.0.0.1/24")
	w := s.watch(&api.WatchRequest{})
	if got, _ := s.changes(w, "synced"); got != "reset\nput network 100\nput endpoint a\nsynced\n" {
		t.Errorf("first: got\n%s", got)
	}
	s.network(200)
	if _, err := s.DeleteEndpoint(t.Context(), &api.DeleteEndpointRequest{Name: "a"}); err != nil {
		t.Fatal(err)
	}
	got, revision := s.changes(w, "deleted endpoint a")
	if got != "put network 200\ndeleted endpoint a\n" {
		t.Errorf("then: got\n%s", got)
	}
	s.restart()
	if _, err := w.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("when the agent ends: got %v", err)
	}
	s.network(300)
	if got, _ := s.changes(s.watch(&api.WatchRequest{Since: revision}), "put network 300"); got != "put network 300\n" {
		t.Errorf("after a restart: got\n%s", got)
	}
	if got, _ := s.changes(s.watch(&api.WatchRequest{Since: 1}), "synced"); !strings.HasPrefix(got, "reset\nput network 100\n") {
		t.Errorf("since long ago: got\n%s", got)
	}
}

// entries are n of the FDB, behind 192.0.2.2 and 192.0.2.3.
func entries(n, subnet int) *api.AddFDBRequest {
	req := &api.AddFDBRequest{Replace: true}
	for i := range n {
		req.Entries = append(req.Entries, &api.FDBEntry{
			Vni: 100, Mac: fmt.Sprintf("02:00:00:01:%02x:%02x", i>>8, i&255), Vtep: fmt.Sprint("192.0.2.", 2+i%2),
			Addresses: []string{fmt.Sprintf("10.%d.%d.%d", subnet, 1+i>>8, i&255)},
		})
	}
	return req
}

// Who does not read holds nobody up, and is told that it has missed something.
func TestSlowWatch(t *testing.T) {
	s := newSite(t)
	s.config.History = 500
	s.restart()
	s.uplink("ul0", "192.0.2.1/24")
	w := s.watch(&api.WatchRequest{})
	s.changes(w, "synced")
	for n := range 20 { // more than gRPC and the store keep
		must[*api.AddFDBResponse](t)(s.AddFDB(t.Context(), entries(400, n)))
	}
	for {
		_, err := w.Recv()
		if status.Code(err) == codes.ResourceExhausted && strings.Contains(err.Error(), "watch again") {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if got, _ := s.changes(s.watch(&api.WatchRequest{Since: 1, NoFdb: true}), "synced"); strings.Contains(got, "fdb") {
		t.Errorf("without the FDB: got\n%s", got)
	}
}

func (s *site) drops(req *api.WatchDropsRequest) grpc.ServerStreamingClient[api.WatchDropsResponse] {
	s.Helper()
	stream, err := s.WatchDrops(soon(s.T), req)
	if err != nil {
		s.Fatal(err)
	}
	if first, err := stream.Recv(); err != nil || len(first.GetDrops()) > 0 {
		s.Fatalf("first: got %v, %v", first, err)
	}
	return stream
}

// ask sends a datagram that nobody answers.
func (c container) ask(t *testing.T, address string) {
	t.Helper()
	err := c.ns.Do(func() error { return say(address, "hello, is there anybody") })
	if err != nil {
		t.Fatal(err)
	}
}

// Drops come with the reason and the endpoint's name, to all who asked for
// such; a capture has the frame as it was sent, and once more as a drop.
func TestDropsAndCapture(t *testing.T) {
	s := newSite(t)
	s.network(100)
	a := s.endpoint("a", 100, "10.0.0.1/24")
	s.endpoint("b", 100, "10.0.0.2/24")
	all := s.drops(&api.WatchDropsRequest{})
	mine := s.drops(&api.WatchDropsRequest{Endpoint: "a", Reasons: []string{"arp_unknown"}})
	capture, err := s.Capture(soon(t), &api.CaptureRequest{Endpoint: "a"})
	if err != nil {
		t.Fatal(err)
	}
	if first, err := capture.Recv(); err != nil || len(first.GetFrames()) > 0 {
		t.Fatalf("first: got %v, %v", first, err)
	}
	a.ask(t, "10.0.0.77:9")
	receive(t, all, func(part *api.WatchDropsResponse) bool {
		for _, d := range part.GetDrops() {
			if d.GetReason() == "arp_unknown" && d.GetEndpoint() == "a" && d.GetVni() == 100 && d.GetLength() == 42 && len(d.GetHead()) == 42 {
				return true
			}
		}
		return false
	})
	receive(t, mine, func(part *api.WatchDropsResponse) bool {
		for _, d := range part.GetDrops() {
			if d.GetReason() != "arp_unknown" || d.GetEndpoint() != "a" {
				t.Errorf("a's arp_unknown alone was asked for: got %v", d)
			}
		}
		return len(part.GetDrops()) > 0
	})
	asks := []byte{0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1} // an ARP request
	var sent, dropped *api.Frame
	receive(t, capture, func(part *api.CaptureResponse) bool {
		for _, f := range part.GetFrames() {
			if !bytes.Equal(f.GetData()[12:22], asks) || f.GetDirection() != api.Frame_DIRECTION_FROM {
				continue
			}
			if f.GetDrop() == nil {
				sent = f
			} else {
				dropped = f
			}
		}
		return sent != nil && dropped != nil
	})
	if dropped.GetDrop().GetReason() != "arp_unknown" || !bytes.Equal(sent.GetData(), dropped.GetData()) {
		t.Errorf("sent %x, dropped for %q: %x", sent.GetData(), dropped.GetDrop().GetReason(), dropped.GetData())
	}
	// An endpoint that goes ends its capture.
	if _, err := s.DeleteEndpoint(t.Context(), &api.DeleteEndpointRequest{Name: "a"}); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = capture.Recv()
	}
	if status.Code(err) != codes.FailedPrecondition {
		t.Errorf("when the endpoint goes: got %v", err)
	}
	if _, err := s.Purge(t.Context(), &api.PurgeRequest{}); err != nil {
		t.Fatal(err)
	}
	for err = nil; err == nil; {
		_, err = all.Recv()
	}
	if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "watch drops: the data plane is closed") {
		t.Errorf("when all goes: got %v", err)
	}
}

func TestCapturesAreLimited(t *testing.T) {
	s := newSite(t)
	s.network(100)
	s.endpoint("a", 100, "10.0.0.1/24")
	open := func(ctx context.Context) error {
		stream, err := s.Capture(ctx, &api.CaptureRequest{Endpoint: "a"})
		if err == nil {
			_, err = stream.Recv()
		}
		return err
	}
	ctx, cancel := context.WithCancel(soon(t))
	for range captures {
		if err := open(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if err := open(soon(t)); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("one more than %d: got %v", captures, err)
	}
	cancel()
	again := soon(t)
	for err := open(again); err != nil; err = open(again) { // places come back when the server has heard of it
		if status.Code(err) != codes.ResourceExhausted {
			t.Fatalf("after they ended: %v", err)
		}
	}
}

// A table of some size comes in parts, filtered.
func TestFDB(t *testing.T) {
	const n = 5000
	s := newSite(t)
	s.uplink("ul0", "192.0.2.1/24")
	s.endpoint("a", 100, "10.9.0.1/16")
	req := entries(n, 0)
	for range 2 {
		must[*api.AddFDBResponse](t)(s.AddFDB(t.Context(), req))
	}
	if got := len(s.fdb(&api.ListFDBRequest{})); got != n+1 {
		t.Errorf("got %d entries, want %d", got, n+1)
	}
	if got := len(s.fdb(&api.ListFDBRequest{Vtep: "192.0.2.3"})); got != n/2 {
		t.Errorf("behind one VTEP: got %d, want %d", got, n/2)
	}
	one := s.fdb(&api.ListFDBRequest{Mac: "02:00:00:01:00:07"})
	if len(one) != 1 || one[0].GetAddresses()[0] != "10.0.1.7" || one[0].GetVtep() != "192.0.2.3" {
		t.Errorf("one MAC: got %v", one)
	}
	if _, err := s.DeleteVTEP(t.Context(), &api.DeleteVTEPRequest{Address: "192.0.2.3"}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("delete a VTEP with somebody behind it: got %v", err)
	}
	must[*api.DeleteFDBResponse](t)(s.DeleteFDB(t.Context(), &api.DeleteFDBRequest{Entries: req.GetEntries()[1:]}))
	if list := s.fdb(&api.ListFDBRequest{}); len(list) != 2 {
		t.Errorf("after all but one were deleted: got %d", len(list))
	}
	if u := must[*api.GetUnderlayResponse](t)(s.GetUnderlay(t.Context(), &api.GetUnderlayRequest{})).GetUnderlay(); u.GetIfname() != "ul0" || u.GetIpv4() != "192.0.2.1" || u.GetMtu() == 0 {
		t.Errorf("underlay: got %v", u)
	}
	able := must[*api.GetStatusResponse](t)(s.GetStatus(t.Context(), &api.GetStatusRequest{Capabilities: true}))
	if len(able.GetCapabilities()) == 0 || able.GetVteps() != 2 || able.GetRemotes() != 1 {
		t.Errorf("status: got %v", able)
	}
}

// A table that is full is an answer with its name and the remedy, and nothing
// of the call stays.
func TestFullTable(t *testing.T) {
	s := newSite(t)
	s.config.MaxFDB = 10
	s.restart()
	s.uplink("ul0", "192.0.2.1/24")
	must[*api.AddFDBResponse](t)(s.AddFDB(t.Context(), entries(8, 0)))
	_, err := s.AddFDB(t.Context(), entries(11, 0))
	if status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "map fdb") || !strings.Contains(err.Error(), "10 entries") {
		t.Errorf("got %v", err)
	}
	if list := s.fdb(&api.ListFDBRequest{}); len(list) != 8 {
		t.Errorf("got %d entries, want the 8 of before", len(list))
	}
}
