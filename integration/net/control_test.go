// SPDX-License-Identifier: Apache-2.0

package net

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/rpc"
	"net/rpc/jsonrpc"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"

	"foundry/datapath"
)

// asControl makes the test's own program a host's control plane, as a server
// is one: a process in the host's network namespace, with a bpffs and a store
// in the directory that it names.
const asControl = "FOUNDRY_TEST_CONTROL"

// serveControl answers calls on stdin and stdout until they end.
func serveControl(dir string) error {
	c, err := datapath.StartControl(context.Background(), datapath.ControlConfig{Dir: dir, Store: os.Getenv(asControl + "_STORE"),
		Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))})
	if err != nil {
		return err
	}
	server := rpc.NewServer()
	if err := server.RegisterName("C", &calls{c}); err != nil {
		return err
	}
	server.ServeCodec(jsonrpc.NewServerCodec(struct {
		io.Reader
		io.WriteCloser
	}{os.Stdin, os.Stdout}))
	return c.Close()
}

// calls are Control's, as net/rpc wants them.
type calls struct{ c *datapath.Control }

// answer puts a call's result where net/rpc looks for it.
func answer[T any](to *T, value T, err error) error {
	*to = value
	return err
}

func (s *calls) SetUnderlay(r datapath.UnderlayRecord, got *datapath.UnderlayRecord) error {
	value, err := s.c.SetUnderlay(context.Background(), r)
	return answer(got, value, err)
}

func (s *calls) SetNetwork(r datapath.NetworkRecord, got *datapath.NetworkRecord) error {
	value, err := s.c.SetNetwork(context.Background(), r)
	return answer(got, value, err)
}

func (s *calls) AddEndpoint(r datapath.EndpointRecord, got *datapath.EndpointRecord) error {
	value, err := s.c.AddEndpoint(context.Background(), r)
	return answer(got, value, err)
}

func (s *calls) DeleteEndpoint(name string, _ *bool) error {
	return s.c.DeleteEndpoint(context.Background(), name)
}

func (s *calls) AddPeer(r datapath.PeerRecord, got *datapath.PeerRecord) error {
	value, err := s.c.AddPeer(context.Background(), r)
	return answer(got, value, err)
}

func (s *calls) SetRemotes(list []datapath.RemoteRecord, _ *bool) error {
	return s.c.SetRemotes(context.Background(), list)
}

func (s *calls) DeleteRemotes(keys []datapath.RemoteKey, _ *bool) error {
	return s.c.DeleteRemotes(context.Background(), keys)
}

func (s *calls) Snapshot(_ bool, got *datapath.Snapshot) error {
	return answer(got, s.c.Snapshot(), nil)
}

func (s *calls) Counters(name string, got *[]datapath.Counter) error {
	value, err := s.c.Counters(name)
	return answer(got, append([]datapath.Counter{}, value...), err) // JSON-RPC has no result that is null
}

func (s *calls) Reconcile(dryRun bool, got *[]datapath.Change) error {
	value, err := s.c.Reconcile(context.Background(), dryRun)
	return answer(got, append([]datapath.Change{}, value...), err)
}

// control is a control plane that runs.
type control struct {
	*rpc.Client
	h   *host
	cmd *exec.Cmd
}

// startControl starts the control plane of a host, which ends with the test.
func (h *host) startControl(dir string) *control {
	f := h.f
	f.Helper()
	self, err := os.Executable()
	if err != nil {
		f.Fatal(err)
	}
	c := &control{h: h, cmd: exec.Command("nsenter", "--net="+path(h.ns), self)}
	c.cmd.Env = append(os.Environ(), asControl+"="+dir, asControl+"_STORE="+filepath.Join(f.TempDir(), "store"))
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := c.cmd.StdinPipe()
	if err != nil {
		f.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		f.Fatal(err)
	}
	c.cmd.Stderr = &logWriter{f: f, name: h.name}
	if err := c.cmd.Start(); err != nil {
		f.Fatal(err)
	}
	c.Client = jsonrpc.NewClient(struct {
		io.Reader
		io.WriteCloser
	}{out, in})
	f.Cleanup(c.end)
	return c
}

func (c *control) end() {
	c.h.f.Helper()
	c.Close()
	if err := c.cmd.Wait(); err != nil {
		c.h.f.Errorf("%s: control plane: %v", c.h.name, err)
	}
}

// logWriter puts the lines of a control plane into the test's log.
type logWriter struct {
	f    *fabric
	name string
	mu   sync.Mutex
}

func (w *logWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.f.Logf("%s: %s", w.name, b)
	return len(b), nil
}

// ask makes a call that must succeed.
func ask[T any](c *control, method string, argument any) (reply T) {
	c.h.f.Helper()
	if err := c.Call("C."+method, argument, &reply); err != nil {
		c.h.f.Fatalf("%s: %s %+v: %v", c.h.name, method, argument, err)
	}
	return reply
}

// underlayRecord tells the control plane where tunnels go out.
func (h *host) underlayRecord() {
	h.f.Helper()
	r := datapath.UnderlayRecord{Ifname: h.up.Name, XDP: datapath.XDPOff}
	if h.f.xdp {
		r.XDP = datapath.XDPOn
	}
	if h.f.kernel {
		r.Encap = datapath.EncapKernel
	}
	r = ask[datapath.UnderlayRecord](h.control, "SetUnderlay", r)
	if r.Problem != "" || r.Native != h.f.xdp || r.IPv4 != h.ip && r.IPv6 != h.ip {
		h.f.Fatalf("%s: underlay: got %+v", h.name, r)
	}
}

// peers introduces hosts that have control planes to each other.
func (f *fabric) peers() {
	f.Helper()
	for _, h := range f.hosts {
		for _, other := range f.hosts {
			if h.control != nil && other != h && other.up.Index > 0 {
				p := ask[datapath.PeerRecord](h.control, "AddPeer", datapath.PeerRecord{IP: other.ip, MTU: h.pathMTU})
				if p.Problem != "" || p.Stale {
					f.Logf("%s: way to %v: %+v", h.name, other.ip, p)
				}
			}
		}
	}
}

// announce tells the control planes of all hosts of a container.
func (c *container) announce() {
	f := c.h.f
	f.Helper()
	for _, h := range f.hosts {
		ask[datapath.NetworkRecord](h.control, "SetNetwork", datapath.NetworkRecord{VNI: c.vni, Broadcast: f.broadcast})
	}
	r := datapath.EndpointRecord{Name: c.name, VNI: c.vni, NetNS: path(c.ns), MAC: c.mac, Addrs: c.prefixes(), MTU: c.place.mtu}
	if c.xdp {
		r.Mode = datapath.ModeXDP
	}
	r = ask[datapath.EndpointRecord](c.h.control, "AddEndpoint", r)
	if r.Broken != "" || r.MAC != c.mac {
		f.Fatalf("endpoint: got %+v", r)
	}
	c.ifindex, c.mtu = r.Ifindex, r.MTU
	for _, h := range f.hosts {
		if h != c.h {
			ask[bool](h.control, "SetRemotes", []datapath.RemoteRecord{{VNI: c.vni, MAC: c.mac, Addrs: c.addrs(), Peer: c.h.ip}})
		}
	}
}

// forget takes a container from all hosts: who is to reach it first.
func (c *container) forget() {
	f := c.h.f
	f.Helper()
	for _, h := range f.hosts {
		if h != c.h {
			ask[bool](h.control, "DeleteRemotes", []datapath.RemoteKey{{VNI: c.vni, MAC: c.mac}})
		}
	}
	ask[bool](c.h.control, "DeleteEndpoint", c.name)
}

// counters reads what a control plane counts.
func (c *control) counters() map[count]uint64 {
	c.h.f.Helper()
	got := map[count]uint64{}
	for _, n := range ask[[]datapath.Counter](c, "Counters", "") {
		if n.Direction == "from" {
			got[count{n.Endpoint, n.Action, n.Reason}] += n.Packets
		}
	}
	return got
}

// settled wants the control plane to find nothing to repair.
func (c *control) settled() {
	c.h.f.Helper()
	if changes := ask[[]datapath.Change](c, "Reconcile", true); len(changes) > 0 {
		c.h.f.Errorf("%s: to be repaired: %s", c.h.name, fmt.Sprint(changes))
	}
}
