// SPDX-License-Identifier: Apache-2.0

package net

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/rpc"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"foundry/datapath"
	"foundry/integration/env"
)

// What the two kernels have agreed on.
const (
	guestPort = "7000" // of the underlay, where the guest takes calls
	guestMAC  = "52:54:00:00:00:02"
	guestRoom = 1430    // MTU of containers, over either family
	guestSent = 1 << 20 // by TCP: all of it is emulated
	bootTime  = 4 * time.Minute
)

// guest is another kernel, of a stock distribution, behind a tap. It is the
// other host of an interop story, with a program there that does as it is told.
type guest struct {
	*foreign
	client *rpc.Client
}

// TestInteropGuest: two kernels with a wire between them that is no veth. What
// is left of segments and checksums when a frame goes is done by one kernel,
// and looked at by another. First the guest's VXLAN is its kernel's, then ours.
func TestInteropGuest(t *testing.T) {
	env.RequireRoot(t)
	if os.Getenv("FOUNDRY_GUEST") == "" {
		t.Skip("boots a guest: make test-guest does it")
	}
	g := newGuest(t)
	for _, c := range []struct {
		name string
		wire wire
		side Side
	}{
		{"kernel over IPv4", wire{}, Side{Options: "udpcsum"}},
		{"kernel over IPv6", wire{v6: true}, Side{Options: "udp6zerocsumtx udp6zerocsumrx"}},
		{"Foundry over IPv4", wire{}, Side{Ours: true}},
		{"Foundry over IPv6 with XDP on both uplinks", wire{v6: true, xdp: true}, Side{Ours: true, XDP: true}},
		{"Foundry's headers by its kernel", wire{}, Side{Ours: true, Kernel: true}},
	} {
		t.Run(c.name, func(t *testing.T) { g.phase(t, c.wire, c.side) })
	}
}

// newGuest makes our host, with a tap for an uplink, and boots the other.
func newGuest(t *testing.T) *guest {
	t.Helper()
	f := newHosts(t, 1, wire{})
	f.broadcast = datapath.Broadcast{On: true}
	g := &guest{foreign: &foreign{fabric: f, ours: f.hosts[0]}}
	ipIn(t, g.ours.ns, "tuntap add dev up0 mode tap vnet_hdr", "link set up0 up", "addr add 192.0.2.1/24 dev up0", "addr add 2001:db8::1/64 dev up0 nodad")
	mac, err := net.ParseMAC(guestMAC)
	if err != nil {
		t.Fatal(err)
	}
	g.ours.up = device(t, g.ours.ns, "up0")
	g.other = &host{f: f, name: "the guest", up: net.Interface{HardwareAddr: mac}}
	g.boot()
	g.a = g.ours.bare(place{vni: foreignVNI, n: 1, mtu: guestRoom})
	g.ours.containers = append(g.ours.containers, g.a)
	g.b = &container{place: place{vni: foreignVNI, n: 2}, mtu: guestRoom, h: g.other, name: ourDevice,
		mac: datapath.MAC{2, 0, 0, 0, 0, 2}, ip4: netip.MustParseAddr("10.0.0.2"), ip6: netip.MustParseAddr("fd00::2")}
	return g
}

// boot starts the guest, with this very test program in it, and waits until it
// takes calls.
func (g *guest) boot() {
	g.Helper()
	work := g.TempDir()
	program, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		err = os.WriteFile(filepath.Join(work, "net.test"), program, 0o700)
	}
	if err != nil {
		g.Fatal(err)
	}
	script := fmt.Sprintf("cd %s && FOUNDRY_TEST_INSIDE=1 FOUNDRY_GUEST_SIDE=1 ./net.test -test.v -test.run '^TestGuestSide$'", work)
	network := "-netdev tap,id=n0,ifname=up0,script=no,downscript=no -device virtio-net-pci,netdev=n0,mac=" + guestMAC
	cmd := exec.Command("nsenter", "--net="+path(g.ours.ns), filepath.Join(env.Module(g.T), "integration/vm/boot.sh"),
		"-c", "1", "-m", "1024", "-x", "quiet", "-t", "600", "-w", work, "-n", network, "--", script)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		g.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	g.Cleanup(func() { g.end(cmd, ended, &out) })
	begin := time.Now()
	for g.client == nil {
		conn, err := in(g.ours.ns, func() (net.Conn, error) { return net.DialTimeout("tcp", "192.0.2.2:"+guestPort, time.Second) })
		if err == nil {
			g.client = rpc.NewClient(conn)
			break
		}
		select {
		case err := <-ended:
			ended <- err
			g.Fatalf("the guest ended: %v", err)
		case <-time.After(100 * time.Millisecond):
		}
		if time.Since(begin) > bootTime {
			g.Fatalf("the guest takes no calls after %v: %v", bootTime, err)
		}
	}
	g.Logf("the guest takes calls after %v", time.Since(begin).Round(time.Second))
}

// end tells the guest to end, and makes sure of it.
func (g *guest) end(cmd *exec.Cmd, ended chan error, out io.Reader) {
	if g.client != nil {
		g.client.Go("Guest.End", "", new(string), nil)
	}
	select {
	case err := <-ended:
		if err != nil {
			g.Errorf("the guest ended: %v", err)
		}
	case <-time.After(time.Minute):
		g.Error("the guest does not end")
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-ended
	}
	if g.client != nil {
		g.client.Close()
	}
	if text, _ := io.ReadAll(out); g.Failed() {
		g.Logf("the guest says:\n%s", text)
	}
}

// call has the guest do something, and returns what it says.
func (g *guest) call(method string, args any) (reply string) {
	g.Helper()
	call := g.client.Go("Guest."+method, args, &reply, make(chan *rpc.Call, 1))
	select {
	case <-call.Done:
		if call.Error != nil {
			g.Errorf("in the guest: %s: %v", method, call.Error)
		}
	case <-time.After(bootTime):
		g.Fatalf("in the guest: %s: no answer", method)
	}
	return reply
}

// phase is one way to be connected, and all that is done by it.
func (g *guest) phase(t *testing.T, w wire, side Side) {
	whole := g.T
	g.T = t
	defer func() { g.T = whole }()
	w.mtu = 1500
	g.wire = w
	g.ours.ip, g.other.ip = g.vtep(0).Addr(), g.vtep(1).Addr()
	side.V6, side.MAC = w.v6, g.ours.up.HardwareAddr
	g.call("Become", side)
	g.peer = datapath.Peer{IP: g.other.ip, Local: datapath.MAC(g.ours.up.HardwareAddr), NextHop: datapath.MAC(g.other.up.HardwareAddr), MTU: 1500}
	g.tell(interop{})
	sums, dropped := snmp(g.fabric, g.a.ns), g.ours.dropped()
	g.talk()
	for counter, n := range snmp(g.fabric, g.a.ns) {
		if strings.HasSuffix(counter, "InCsumErrors") && n != sums[counter] {
			t.Errorf("%s: got %d more", counter, n-sums[counter])
		}
	}
	for reason, n := range g.ours.dropped() {
		if n != dropped[reason] {
			t.Errorf("dropped here for %s: %d", reason, n-dropped[reason])
		}
	}
	if wrong := g.call("Wrong", ""); wrong != "" {
		t.Errorf("in the guest: %s", wrong)
	}
}

// talk is what foreign.talk does, with one end in the guest.
func (g *guest) talk() {
	g.Helper()
	for i, ip := range g.b.addrs() {
		to := g.a.addrs()[i]
		g.call("Ping", Ping{to, 100, 100}) // finds us, by broadcasts
		for _, size := range []int{0, 500, guestRoom - 8} {
			if err := pingSizes(g.a.ns, ip, size, size+66); err != nil {
				g.Errorf("ping the guest at %v: %v", ip, err)
			}
			g.call("Ping", Ping{to, size, size + 66})
		}
		if err := g.streamTo(ip); err != nil {
			g.Errorf("stream to the guest at %v: %v", ip, err)
		}
		if err := g.streamFrom(to); err != nil {
			g.Errorf("stream from the guest to %v: %v", to, err)
		}
		if err := g.segmentsTo(ip); err != nil {
			g.Errorf("datagrams to the guest at %v: %v", ip, err)
		}
		if err := g.segmentsFrom(to); err != nil {
			g.Errorf("datagrams from the guest to %v: %v", to, err)
		}
	}
}

func (g *guest) streamTo(ip netip.Addr) error {
	address := g.call("Swallow", netip.AddrPortFrom(ip, 0).String())
	conn, err := in(g.a.ns, func() (net.Conn, error) { return net.DialTimeout("tcp", address, patience) })
	if err != nil {
		return err
	}
	defer conn.Close()
	begin := time.Now()
	digest, err := pour(conn, guestSent)
	if err != nil {
		return err
	}
	if got := g.call("Digest", ""); got != fmt.Sprintf("%x", digest) {
		return fmt.Errorf("digest: got %s, want %x", got, digest)
	}
	g.Logf("to the guest at %v: %d MiB in %v", ip, guestSent>>20, time.Since(begin).Round(time.Millisecond))
	return nil
}

func (g *guest) streamFrom(ip netip.Addr) error {
	l, err := in(g.a.ns, func() (net.Listener, error) { return net.Listen("tcp", netip.AddrPortFrom(ip, 0).String()) })
	if err != nil {
		return err
	}
	defer l.Close()
	want := make(chan string, 1)
	go func() { want <- g.call("Pour", l.Addr().String()) }()
	digest, err := swallow(l)
	if err != nil {
		return err
	}
	if got := fmt.Sprintf("%x", digest); got != <-want {
		return fmt.Errorf("digest: got %s", got)
	}
	return nil
}

func (g *guest) segmentsTo(ip netip.Addr) error {
	address, err := net.ResolveUDPAddr("udp", g.call("Collect", netip.AddrPortFrom(ip, 0).String()))
	if err != nil {
		return err
	}
	if err := sendSegments(g.a.ns, address); err != nil {
		return err
	}
	g.call("Collected", "")
	return nil
}

func (g *guest) segmentsFrom(ip netip.Addr) error {
	sink, err := in(g.a.ns, func() (net.PacketConn, error) { return net.ListenPacket("udp", netip.AddrPortFrom(ip, 0).String()) })
	if err != nil {
		return err
	}
	defer sink.Close()
	g.call("Segments", sink.LocalAddr().String())
	return collect(sink, allDatagrams())
}
