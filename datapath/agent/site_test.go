// SPDX-License-Identifier: Apache-2.0

package agent

import (
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
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

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
	served chan struct{} // closed when the agent has let go of its socket
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
	s.agent, s.served = New(s.config), make(chan struct{})
	if err := s.agent.Start(s.Context()); err != nil {
		s.Fatal(err)
	}
	go func(a *Agent, served chan struct{}) {
		defer close(served)
		if err := a.Serve(l); err != nil {
			s.Error(err)
		}
	}(s.agent, s.served)
}

// restart ends the agent and makes another. The client does not know.
func (s *site) restart() {
	s.Helper()
	if err := s.agent.Close(); err != nil {
		s.Error(err)
	}
	<-s.served
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
