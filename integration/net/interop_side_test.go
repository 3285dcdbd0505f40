// SPDX-License-Identifier: Apache-2.0

package net

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"net/rpc"
	"os"
	"os/exec"
	"strings"
	"testing"

	"foundry/bpf"
	"foundry/datapath"
	"foundry/datapath/veth"
)

// Side is what the guest is to be.
type Side struct {
	V6, Ours, XDP, Kernel bool
	Options               string // of the kernel's device
	MAC                   []byte // of the other host's uplink
}

// Ping is what to send echo requests to, of all sizes.
type Ping struct {
	IP       netip.Addr
	From, To int
}

// guestSide does in the guest what the story on the host calls for. Calls come
// one after the other.
type guestSide struct {
	f    *fabric
	h    *host
	ns   *veth.NS // of the container
	drop map[string]uint64
	bad  map[string]uint64

	digest chan string
	sink   net.PacketConn
	ended  chan struct{}
}

// TestGuestSide is the program in the guest; TestInteropGuest starts it.
func TestGuestSide(t *testing.T) {
	if os.Getenv("FOUNDRY_GUEST_SIDE") == "" {
		t.Skip("TestInteropGuest runs it in a guest")
	}
	root, err := veth.OpenNS("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	uplink := ethernetDevice(t, root)
	ipIn(t, root, "link set "+uplink+" name up0", "link set up0 up", "addr add 192.0.2.2/24 dev up0", "addr add 2001:db8::2/64 dev up0 nodad")
	f := newHosts(t, 0, wire{})
	f.broadcast = datapath.Broadcast{On: true}
	g := &guestSide{f: f, h: &host{f: f, name: "guest", ns: root, up: device(t, root, "up0")}, digest: make(chan string, 1), ended: make(chan struct{})}
	if g.h.dp, err = datapath.Open(datapath.Config{Dir: "/sys/fs/bpf/foundry"}); err != nil {
		t.Fatalf("%+v", err)
	}
	l, err := net.Listen("tcp", ":"+guestPort)
	if err != nil {
		t.Fatal(err)
	}
	server := rpc.NewServer()
	if err := server.RegisterName("Guest", g); err != nil {
		t.Fatal(err)
	}
	go server.Accept(l)
	<-g.ended
}

// ethernetDevice is the one that is there.
func ethernetDevice(t *testing.T, ns *veth.NS) string {
	t.Helper()
	list, err := net.Interfaces()
	for _, i := range list {
		if i.HardwareAddr.String() == guestMAC {
			return i.Name
		}
	}
	t.Fatalf("no device has the MAC %s: %v, %v", guestMAC, list, err)
	return ""
}

// End ends the program.
func (g *guestSide) End(string, *string) error {
	close(g.ended)
	return nil
}

// Become makes the guest's container, on the kernel's device or on ours.
func (g *guestSide) Become(s Side, _ *string) error {
	_ = exec.Command("ip", "link", "del", ourDevice).Run() // of the phase before
	for _, c := range g.h.containers {
		if err := veth.Delete(c.name); err != nil {
			return err
		}
	}
	g.h.containers, g.f.hosts = nil, []*host{g.h}
	g.f.wire = wire{v6: s.V6, mtu: 1500, xdp: s.XDP}
	g.h.ip = g.f.vtep(1).Addr()
	state := datapath.State{}
	if s.Ours {
		var err error
		if state, err = g.ours(s); err != nil {
			return err
		}
	} else if err := g.kernel(s); err != nil {
		return err
	}
	if _, err := g.h.dp.Set(state); err != nil {
		return err
	}
	g.drop, g.bad = g.h.dropped(), g.badSums()
	return nil
}

// kernel makes a device of the kernel's: the guest's own namespace is the
// container.
func (g *guestSide) kernel(s Side) error {
	g.ns = g.h.ns
	for _, line := range []string{
		fmt.Sprintf("link add %s mtu %d address 02:00:00:00:00:02 type vxlan id %d dstport 4789 local %v remote %v dev up0 %s",
			ourDevice, guestRoom, foreignVNI, g.h.ip, g.f.vtep(0).Addr(), s.Options),
		"link set " + ourDevice + " up", "addr add 10.0.0.2/8 dev " + ourDevice, "addr add fd00::2/64 dev " + ourDevice + " nodad",
	} {
		if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", line, err, out)
		}
	}
	return nil
}

// ours makes a container of our own.
func (g *guestSide) ours(s Side) (datapath.State, error) {
	c := g.h.bare(place{vni: foreignVNI, n: 2, mtu: guestRoom})
	g.h.containers, g.ns = []*container{c}, c.ns
	state := g.h.state()
	if s.Kernel {
		tunnel, err := veth.CollectMD(ourDevice, bpf.DefaultPort)
		if err != nil {
			return state, err
		}
		state.Underlay.Encap, state.Underlay.Tunnel = datapath.EncapKernel, tunnel
	}
	a := container{ip4: netip.MustParseAddr("10.0.0.1"), ip6: netip.MustParseAddr("fd00::1")}
	state.Peers = append(state.Peers, datapath.Peer{IP: g.f.vtep(0).Addr(), Local: datapath.MAC(g.h.up.HardwareAddr), NextHop: datapath.MAC(s.MAC), MTU: 1500})
	state.Remotes = append(state.Remotes, datapath.Remote{VNI: foreignVNI, MAC: datapath.MAC{2, 0, 0, 0, 0, 1}, Addrs: a.addrs(), Peer: g.f.vtep(0).Addr()})
	return state, nil
}

// Ping sends echo requests from the container.
func (g *guestSide) Ping(p Ping, _ *string) error { return pingSizes(g.ns, p.IP, p.From, p.To) }

// Swallow waits for a stream to the container, and says where.
func (g *guestSide) Swallow(at string, address *string) error {
	l, err := in(g.ns, func() (net.Listener, error) { return net.Listen("tcp", at) })
	if err != nil {
		return err
	}
	*address = l.Addr().String()
	go func() {
		defer l.Close()
		digest, err := swallow(l)
		if err != nil {
			g.digest <- err.Error()
			return
		}
		g.digest <- fmt.Sprintf("%x", digest)
	}()
	return nil
}

// Digest is that of the stream that was waited for.
func (g *guestSide) Digest(_ string, digest *string) error {
	*digest = <-g.digest
	return nil
}

// Pour sends a stream from the container.
func (g *guestSide) Pour(address string, digest *string) error {
	conn, err := in(g.ns, func() (net.Conn, error) { return net.DialTimeout("tcp", address, patience) })
	if err != nil {
		return err
	}
	defer conn.Close()
	sum, err := pour(conn, guestSent)
	*digest = fmt.Sprintf("%x", sum)
	return err
}

// Collect waits for datagrams to the container, and says where.
func (g *guestSide) Collect(at string, address *string) (err error) {
	g.sink, err = in(g.ns, func() (net.PacketConn, error) { return net.ListenPacket("udp", at) })
	if err == nil {
		*address = g.sink.LocalAddr().String()
	}
	return err
}

// Collected wants them to have come.
func (g *guestSide) Collected(string, *string) error {
	defer g.sink.Close()
	return collect(g.sink, allDatagrams())
}

// Segments sends datagrams from the container.
func (g *guestSide) Segments(address string, _ *string) error {
	to, err := net.ResolveUDPAddr("udp", address)
	if err != nil {
		return err
	}
	return sendSegments(g.ns, to)
}

// Wrong says what the guest has seen that should not be, since it Became what
// it is.
func (g *guestSide) Wrong(_ string, text *string) error {
	var list []string
	for counter, n := range g.badSums() {
		if n != g.bad[counter] {
			list = append(list, fmt.Sprintf("%s: %d more", counter, n-g.bad[counter]))
		}
	}
	for reason, n := range g.h.dropped() {
		if n != g.drop[reason] {
			list = append(list, fmt.Sprintf("dropped for %s: %d", reason, n-g.drop[reason]))
		}
	}
	*text = strings.Join(list, "; ")
	return nil
}

func (g *guestSide) badSums() map[string]uint64 {
	all := map[string]uint64{}
	for name, ns := range map[string]*veth.NS{"container": g.ns, "host": g.h.ns} {
		for counter, n := range snmp(g.f, ns) {
			if strings.HasSuffix(counter, "InCsumErrors") {
				all[name+": "+counter] = n
			}
		}
	}
	return all
}

// sendSegments sends all datagrams as one.
func sendSegments(from *veth.NS, to *net.UDPAddr) error {
	network := "udp6"
	if to.IP.To4() != nil {
		network = "udp4"
	}
	config := net.ListenConfig{Control: segmenting}
	source, err := in(from, func() (net.PacketConn, error) { return config.ListenPacket(context.Background(), network, ":0") })
	if err != nil {
		return err
	}
	defer source.Close()
	_, err = source.WriteTo(allDatagrams(), to)
	return err
}

func allDatagrams() []byte {
	b := make([]byte, datagrams*datagramSize)
	rand.NewChaCha8([32]byte{}).Read(b)
	return b
}
