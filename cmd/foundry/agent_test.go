// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/gopacket/gopacket/pcapgo"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"foundry/datapath/agent/api"
)

// fakeAgent answers with made-up objects and keeps what it was asked.
type fakeAgent struct {
	api.UnimplementedAgentServer
	mu        sync.Mutex
	endpoints []*api.Endpoint
	entries   []int // of each AddFDB
	underlay  *api.Underlay
}

func serveAgent(t *testing.T, root, name string) *fakeAgent {
	t.Helper()
	dir := filepath.Join(root, name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(dir, agentSocket))
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeAgent{}
	s := grpc.NewServer()
	api.RegisterAgentServer(s, f)
	go func() { _ = s.Serve(l) }()
	t.Cleanup(s.Stop)
	return f
}

func (f *fakeAgent) GetVersion(context.Context, *api.GetVersionRequest) (*api.GetVersionResponse, error) {
	return &api.GetVersionResponse{Major: 1}, nil
}

func (f *fakeAgent) GetStatus(context.Context, *api.GetStatusRequest) (*api.GetStatusResponse, error) {
	return &api.GetStatusResponse{Endpoints: 3, Broken: 1, Capabilities: []*api.Capability{{Name: "attach", Value: "clsact", Reason: "no tcx before 6.6"}}}, nil
}

func (f *fakeAgent) ListNetworks(context.Context, *api.ListNetworksRequest) (*api.ListNetworksResponse, error) {
	return &api.ListNetworksResponse{Networks: []*api.Network{{Vni: 100}, {Vni: 200, Mtu: 1400, Broadcast: &api.Broadcast{PerSecond: 5}}}}, nil
}

func (f *fakeAgent) AddEndpoint(_ context.Context, req *api.AddEndpointRequest) (*api.AddEndpointResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.endpoints = append(f.endpoints, req.GetEndpoint())
	return &api.AddEndpointResponse{Endpoint: req.GetEndpoint()}, nil
}

func (f *fakeAgent) DeleteEndpoint(_ context.Context, req *api.DeleteEndpointRequest) (*api.DeleteEndpointResponse, error) {
	return nil, grpcstatus.Errorf(codes.Internal, "delete endpoint %s: the disk is on fire", req.GetName())
}

func (f *fakeAgent) SetUnderlay(_ context.Context, req *api.SetUnderlayRequest) (*api.SetUnderlayResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.underlay = req.GetUnderlay()
	return &api.SetUnderlayResponse{Underlay: req.GetUnderlay()}, nil
}

func (f *fakeAgent) AddFDB(_ context.Context, req *api.AddFDBRequest) (*api.AddFDBResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.entries = append(f.entries, len(req.GetEntries()))
	return &api.AddFDBResponse{}, nil
}

func (f *fakeAgent) ListFDB(_ *api.ListFDBRequest, to grpc.ServerStreamingServer[api.ListFDBResponse]) error {
	return to.Send(&api.ListFDBResponse{Entries: []*api.FDBEntry{
		{Vni: 100, Mac: "02:00:00:00:00:01", Endpoint: "web", Addresses: []string{"10.0.0.1"}},
		{Vni: 100, Mac: "02:00:00:00:00:02", Vtep: "192.0.2.2"},
	}})
}

// arp is who-has 10.0.0.9, from 10.0.0.1.
var arp = []byte{255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 1, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 9}

func (f *fakeAgent) WatchDrops(_ *api.WatchDropsRequest, to grpc.ServerStreamingServer[api.WatchDropsResponse]) error {
	drop := &api.Drop{Time: timestamppb.Now(), Reason: "arp_unknown", Endpoint: "web", Vni: 100, Length: 42, Head: arp, Suppressed: 7}
	for range 3 {
		if err := to.Send(&api.WatchDropsResponse{Drops: []*api.Drop{drop}}); err != nil {
			return err
		}
	}
	return grpcstatus.Error(codes.Unavailable, "the server is ending")
}

func (f *fakeAgent) Capture(req *api.CaptureRequest, to grpc.ServerStreamingServer[api.CaptureResponse]) error {
	sent := &api.Frame{Time: timestamppb.Now(), Direction: api.Frame_DIRECTION_FROM, Length: 42, Data: arp}
	dropped := &api.Frame{Time: timestamppb.Now(), Direction: api.Frame_DIRECTION_FROM, Length: 42, Data: arp, Drop: &api.Drop{Reason: "arp_unknown"}}
	got := &api.Frame{Time: timestamppb.Now(), Direction: api.Frame_DIRECTION_TO, Length: 60, Data: arp}
	if req.GetEndpoint() == "gone" {
		return grpcstatus.Error(codes.NotFound, "capture endpoint gone: not found")
	}
	return to.Send(&api.CaptureResponse{Frames: []*api.Frame{sent, dropped, got}, Lost: 5})
}

// A server that has as many callers as it takes hangs up: that is not one that
// does not run.
func TestServerHangsUp(t *testing.T) {
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(root, "full", agentSocket))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	if _, err := call(root, "net", "list"); err == nil || !strings.Contains(err.Error(), "it hangs up") {
		t.Errorf("got %v", err)
	}
}

// What is typed becomes a request, what is answered a table or JSON, and what
// goes wrong a line.
func TestNetworkCommands(t *testing.T) {
	root := t.TempDir()
	f := serveAgent(t, root, "aaaa")
	if err := os.Mkdir(filepath.Join(root, "dead"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "dead", agentSocket), nil, 0o600); err != nil { // a server that was killed
		t.Fatal(err)
	}
	for _, c := range []struct{ args, want, failure string }{
		{"net list", "VNI  MTU   BROADCAST\n100  auto  off\n200  1400  5/s, burst 1\n", ""},
		{"net list -o json", `"broadcasts_per_second": 5`, ""},
		{"net status", "attach     clsact  no tcx before 6.6", ""},
		{"net status", "3, 1 of them broken", ""},
		{"net endpoint add web --vni 100 --netns red --address 10.0.0.1/24 --mode xdp --route 0.0.0.0/0,10.0.0.254", "web   100  10.0.0.1/24", ""},
		{"net endpoint add web --vni 100 --netns red --mode fast", "", `mode "fast": not a mode (tcx, xdp)`},
		{"net endpoint add web --vni 100", "", `required flag(s) "netns" not set`},
		{"net endpoint delete a b", "", "delete endpoint a: the disk is on fire\ndelete endpoint b: the disk is on fire"},
		{"net underlay set eth0 --encap kernel --xdp off", "eth0", ""},
		{"net underlay set eth0 --encap air", "", `encap "air"`},
		{"net endpoint del web", "", `"del" is no command of foundry net endpoint (see foundry net endpoint --help)`},
		{"fdb", "Available Commands", ""},
		{"__complete net en", "endpoint", ""},
		{"net add ten", "", `VNI "ten": not a number`},
		{"net delete 1", "", "method DeleteNetwork not implemented (the server is older than this program)"},
		{"net purge", "", "say so with --yes"},
		{"fdb list", "100  02:00:00:00:00:01  endpoint web    10.0.0.1\n100  02:00:00:00:00:02  vtep 192.0.2.2  -\n", ""},
		{"fdb add 100", "", "either VNI and MAC, or --file"},
		{"drops -f -c 2", "web         arp_unknown       100       02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff, ARP who has 10.0.0.9, tell 10.0.0.1, 42 bytes (and 7 before it)", ""},
		{"drops -f -o json -c 1", `"reason":"arp_unknown"`, ""},
		{"drops -f", "", "the server is ending"},
		{"capture web", "drop  arp_unknown: 02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff", ""},
		{"capture gone -w " + filepath.Join(root, "gone.pcapng"), "", "capture endpoint gone: not found"},
		{"__complete net delete ", "200", ""},
	} {
		out, err := call(root, strings.Split(c.args, " ")...)
		if c.failure == "" && (err != nil || !strings.Contains(out, c.want)) {
			t.Errorf("%s: %v, want %q in\n%s", c.args, err, c.want, out)
		}
		if c.failure != "" && (err == nil || !strings.Contains(err.Error(), c.failure) || strings.Contains(err.Error(), "rpc error")) {
			t.Errorf("%s: got %v, want %q", c.args, err, c.failure)
		}
	}
	e := f.endpoints[0]
	if e.GetNetns() != "/run/netns/red" || e.GetMode() != api.Mode_MODE_XDP || e.GetRoutes()[0].GetGateway() != "10.0.0.254" {
		t.Errorf("endpoint: got %v", e)
	}
	if f.underlay.GetEncap() != api.Encap_ENCAP_KERNEL || f.underlay.GetXdp() != api.Choice_CHOICE_OFF {
		t.Errorf("underlay: got %v", f.underlay)
	}
	serveAgent(t, root, "bbbb")
	if _, err := call(root, "net", "list"); err == nil || !strings.Contains(err.Error(), "there are 2: aaaa, bbbb") {
		t.Errorf("two instances: got %v", err)
	}
	if _, err := call(t.TempDir(), "net", "list"); err == nil || !strings.Contains(err.Error(), "no server runs") && !strings.Contains(err.Error(), "permission") {
		t.Errorf("without a server: got %v", err)
	}
}

// What `fdb list -o json` prints can be read again, in batches, and arrays too.
func TestEntriesFromAFile(t *testing.T) {
	root := t.TempDir()
	f := serveAgent(t, root, "aaaa")
	var text bytes.Buffer
	for n := range 5000 {
		fmt.Fprintf(&text, `{"vni":100,"mac":"02:00:00:00:%02x:%02x","vtep":"192.0.2.2"}`+"\n", n>>8, n&255)
	}
	text.WriteString(`[{"vni":100,"mac":"02:00:00:01:00:00","vtep":"192.0.2.2"},{"vni":100,"mac":"02:00:00:01:00:01","endpoint":"local"}]`)
	file := filepath.Join(t.TempDir(), "entries")
	if err := os.WriteFile(file, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := call(root, "fdb", "add", "-f", file); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if fmt.Sprint(f.entries) != "[4096 905]" {
		t.Errorf("got batches of %v", f.entries)
	}
	if err := os.WriteFile(file, []byte(`{"vni":100} nonsense`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := call(root, "fdb", "add", "-f", file); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("nonsense: got %v", err)
	}
}

// A capture in a file has frames on one interface and drops, with reasons, on
// another, and says what is missing.
func TestCaptureFile(t *testing.T) {
	root := t.TempDir()
	serveAgent(t, root, "aaaa")
	file := filepath.Join(t.TempDir(), "web.pcapng")
	if out, err := call(root, "capture", "web", "-w", file); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	in, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	r, err := pcapgo.NewNgReader(in, pcapgo.DefaultNgReaderOptions)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for {
		data, info, options, err := r.ReadPacketDataWithOptions()
		if err != nil {
			break
		}
		lost := uint64(0)
		if options.DropCount != nil {
			lost = *options.DropCount
		}
		got = append(got, fmt.Sprintln(info.InterfaceIndex, len(data), info.Length, options.Flags.Direction, options.Comments, lost))
	}
	const want = "[0 42 42 2 [] 5\n 1 42 42 2 [dropped: arp_unknown] 0\n 0 42 60 1 [] 0\n]"
	if fmt.Sprint(got) != want {
		t.Errorf("got %v\nwant %s", got, want)
	}
	if first, err := r.Interface(0); err != nil || first.Name != "web" {
		t.Errorf("first interface: %+v, %v", first, err)
	}
}
