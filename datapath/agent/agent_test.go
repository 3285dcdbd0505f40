// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"foundry/datapath/agent/api"
	"foundry/datapath/veth"
	"foundry/integration/env"
)

// site is an instance: what outlives its agent, and a client of that.
type site struct {
	*testing.T
	config Config
	socket string
	agent  *Agent
	api.AgentClient
}

func newSite(t *testing.T) *site {
	t.Helper()
	env.RequireRoot(t)
	s := &site{T: t, socket: filepath.Join(t.TempDir(), "agent.sock")}
	mount := t.TempDir()
	if err := unix.Mount("bpf", mount, "bpf", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(mount, 0); err != nil {
			t.Error(err)
		}
	})
	s.config = Config{BPFFS: filepath.Join(mount, "instance"), Store: filepath.Join(t.TempDir(), "net.db"), Version: "test"}
	s.start()
	t.Cleanup(func() { s.agent.Close() })
	conn, err := grpc.NewClient("unix:"+s.socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	s.AgentClient = api.NewAgentClient(conn)
	return s
}

// start makes the agent, as a server does.
func (s *site) start() {
	s.Helper()
	l, err := net.Listen("unix", s.socket)
	if err != nil {
		s.Fatal(err)
	}
	s.agent = New(s.config)
	if err := s.agent.Start(s.Context()); err != nil {
		s.Fatal(err)
	}
	go func(a *Agent) {
		if err := a.Serve(l); err != nil {
			s.Error(err)
		}
	}(s.agent)
}

// restart ends the agent and makes another. The client does not know.
func (s *site) restart() {
	s.Helper()
	if err := s.agent.Close(); err != nil {
		s.Error(err)
	}
	s.start()
	for until := time.Now().Add(5 * time.Second); ; {
		_, err := s.GetVersion(s.Context(), &api.GetVersionRequest{}, grpc.WaitForReady(true))
		if err == nil || time.Now().After(until) {
			return
		}
	}
}

// container is a network namespace with a path.
type container struct {
	ns   *veth.NS
	path string
}

func newContainer(t *testing.T) container {
	t.Helper()
	ns, err := veth.NewNS()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "net")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(fmt.Sprintf("/proc/self/fd/%d", ns.File().Fd()), path, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		unix.Unmount(path, unix.MNT_DETACH)
		ns.Close()
	})
	return container{ns, path}
}

// must fails the test when a call did.
func must[R any](t *testing.T) func(R, error) R {
	return func(r R, err error) R {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
}

func (s *site) network(vni uint32) {
	s.Helper()
	must[*api.AddNetworkResponse](s.T)(s.AddNetwork(s.Context(), &api.AddNetworkRequest{Network: &api.Network{Vni: vni}}))
}

// endpoint adds a container under a name.
func (s *site) endpoint(name string, vni uint32, address string) container {
	s.Helper()
	c := newContainer(s.T)
	must[*api.AddEndpointResponse](s.T)(s.AddEndpoint(s.Context(), &api.AddEndpointRequest{
		Endpoint: &api.Endpoint{Name: name, Vni: vni, Netns: c.path, Addresses: []string{address}},
	}))
	return c
}

// answers says whether a datagram gets from one container to the other and
// back. The first may be early: the other's devices have just come up.
func answers(t *testing.T, from, to container, address string) error {
	t.Helper()
	var server net.PacketConn
	err := to.ns.Do(func() (err error) {
		server, err = net.ListenPacket("udp", address+":7")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() {
		buf := make([]byte, 64)
		for {
			n, peer, err := server.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = server.WriteTo(buf[:n], peer)
		}
	}()
	var client net.Conn
	err = from.ns.Do(func() (err error) {
		client, err = net.Dial("udp", address+":7")
		return err
	})
	if err != nil {
		return err
	}
	defer client.Close()
	buf := make([]byte, 64)
	for range 10 {
		_ = client.SetDeadline(time.Now().Add(300 * time.Millisecond))
		if _, err = client.Write([]byte("hello")); err == nil {
			_, err = client.Read(buf)
		}
		if err == nil {
			return nil
		}
	}
	return err
}

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

// A call that fails says what about whom, and what helps.
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
	for name, try := range map[string]struct {
		do     func() error
		code   codes.Code
		text   string
		object string
	}{
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
		err := try.do()
		if status.Code(err) != try.code || !strings.Contains(status.Convert(err).Message(), try.text) {
			t.Errorf("%s: got %v, want %v with %q", name, err, try.code, try.text)
		}
		if object := objectOf(err); object != try.object {
			t.Errorf("%s: got details about %q, want %q", name, object, try.object)
		}
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

// fdb lists entries.
func (s *site) fdb(req *api.ListFDBRequest) (list []*api.FDBEntry) {
	s.Helper()
	stream, err := s.ListFDB(s.Context(), req)
	for err == nil {
		var part *api.ListFDBResponse
		part, err = stream.Recv()
		list = append(list, part.GetEntries()...)
	}
	if !errors.Is(err, io.EOF) {
		s.Fatal(err)
	}
	return list
}

// say sends a datagram.
func say(address, text string) error {
	conn, err := net.Dial("udp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Write([]byte(text))
	return err
}

// uplink makes a device with an address the way to the hosts 192.0.2.2 and 3,
// which network 100 spans.
func (s *site) uplink(name, address string) {
	s.Helper()
	for _, line := range []string{"link add " + name + " type veth peer name " + name + "p", "addr add " + address + " dev " + name,
		"link set " + name + " up", "link set " + name + "p up"} {
		if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			s.Fatalf("ip %s: %v\n%s", line, err, out)
		}
	}
	s.Cleanup(func() { exec.Command("ip", "link", "del", name).Run() })
	must[*api.SetUnderlayResponse](s.T)(s.SetUnderlay(s.Context(), &api.SetUnderlayRequest{Underlay: &api.Underlay{Ifname: name, Encap: api.Encap_ENCAP_BPF}}))
	for _, ip := range []string{"192.0.2.2", "192.0.2.3"} {
		must[*api.AddVTEPResponse](s.T)(s.AddVTEP(s.Context(), &api.AddVTEPRequest{Vtep: &api.VTEP{Address: ip}}))
	}
	s.network(100)
}
