// SPDX-License-Identifier: Apache-2.0

package net

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"foundry/bpf"
	"foundry/datapath"
	"foundry/datapath/veth"
	"foundry/integration/env"
)

// wire is what lies between the hosts. Its zero value is Ethernet with IPv4
// and an MTU of 1500.
type wire struct {
	v6       bool
	mtu      int
	xdp      bool // programs of XDP on the uplinks
	kernel   bool // outer headers are the kernel's
	control  bool // hosts have control planes, in processes of their own
	maxFDB   int
	untold   bool // nothing on the hosts says how narrow the way is
	switched bool // two hosts have a switch between them, too
}

func (w wire) String() string {
	s := "IPv4"
	if w.v6 {
		s = "IPv6"
	}
	if w.xdp {
		s += ", XDP on uplinks"
	}
	if w.kernel {
		s += ", headers by the kernel"
	}
	if w.control {
		s += ", by records"
	}
	if w.untold {
		s += ", untold"
	}
	if w.mtu > 0 {
		s += fmt.Sprint(", MTU ", w.mtu)
	}
	return s
}

// fabric is some hosts and the wire between them.
type fabric struct {
	*testing.T
	wire
	hosts []*host
	sw    *veth.NS // of the switch, with port0 to host0 and so on
	names bpf.Names
	// broadcast is how all networks treat frames for all.
	broadcast datapath.Broadcast
}

// host is a network namespace with a data plane of its own.
type host struct {
	f          *fabric
	name, dir  string
	ns         *veth.NS
	dp         *datapath.Datapath // one of the two
	control    *control
	up         net.Interface // none: Index is 0
	ip         netip.Addr    // of the VTEP
	nextHop    map[*host]datapath.MAC
	pathMTU    int // to all others; 0: as the wire
	tunnel     int // device that makes outer headers; 0: the programs do
	containers []*container
}

// newFabric makes hosts; two are at one wire, more at one switch.
func newFabric(t *testing.T, hosts int, w wire) *fabric {
	t.Helper()
	env.RequireRoot(t)
	f := newHosts(t, hosts, w)
	switch {
	case hosts == 2 && !w.switched:
		f.pair(f.hosts[0].ns, "up0", f.hosts[1].ns, "up0")
	case hosts > 1:
		f.bridge()
	}
	for i, h := range f.hosts {
		if hosts > 1 {
			h.uplink("up0", f.vtep(i))
		}
	}
	f.sync()
	return f
}

// newHosts makes hosts without a wire.
func newHosts(t *testing.T, hosts int, w wire) *fabric {
	t.Helper()
	if w.mtu == 0 {
		w.mtu = 1500
	}
	f := &fabric{T: t, wire: w}
	mount := t.TempDir()
	if err := unix.Mount("bpf", mount, "bpf", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(mount, 0); err != nil {
			t.Error(err)
		}
	})
	spec, err := bpf.LoadTC()
	if err != nil {
		t.Fatal(err)
	}
	if f.names, err = bpf.ReadNames(spec); err != nil {
		t.Fatal(err)
	}
	for i := range hosts {
		f.hosts = append(f.hosts, f.newHost(filepath.Join(mount, fmt.Sprint("host", i))))
	}
	return f
}

func (f *fabric) newHost(dir string) *host {
	f.Helper()
	h := &host{f: f, name: filepath.Base(dir), dir: dir, ns: newNS(f.T), nextHop: map[*host]datapath.MAC{}}
	if f.wire.control {
		f.purge(dir)
		h.control = h.startControl(dir)
		return h
	}
	err := h.ns.Do(func() (err error) {
		h.dp, err = datapath.Open(datapath.Config{Dir: dir, MaxFDB: f.maxFDB})
		return err
	})
	if err != nil {
		f.Fatalf("%+v", err)
	}
	f.purge(dir)
	f.Cleanup(h.dp.Close)
	return h
}

func (f *fabric) purge(dir string) {
	f.Cleanup(func() {
		if err := datapath.Purge(dir); err != nil {
			f.Error(err)
		}
	})
}

// newNS makes a network namespace for a test.
func newNS(t *testing.T) *veth.NS {
	t.Helper()
	ns, err := veth.NewNS()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ns.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
	})
	ipIn(t, ns, "link set lo up")
	return ns
}

// path names a namespace that has no name.
func path(ns *veth.NS) string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), ns.File().Fd()) }

// ipIn runs lines of ip in a namespace.
func ipIn(t *testing.T, ns *veth.NS, lines ...string) {
	t.Helper()
	cmd := exec.Command("nsenter", "--net="+path(ns), "ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("ip %q: %v\n%s", lines, err, out)
	}
}

// pair connects two namespaces.
func (f *fabric) pair(a *veth.NS, nameA string, b *veth.NS, nameB string) {
	f.Helper()
	const queues = "numrxqueues 2 numtxqueues 2"
	ipIn(f.T, a, fmt.Sprintf("link add %s mtu %d %s type veth peer name %s mtu %d %s netns %s", nameA, f.mtu, queues, nameB, f.mtu, queues, path(b)))
	if f.xdp {
		// An XDP program at the other end loses what offload has left for later; and sends only to who has NAPI.
		for _, end := range []struct {
			ns   *veth.NS
			name string
		}{{a, nameA}, {b, nameB}} {
			offload(f.T, end.ns, end.name, txChecksum, false)
			offload(f.T, end.ns, end.name, gro, true)
		}
	}
	ipIn(f.T, a, "link set "+nameA+" up")
	ipIn(f.T, b, "link set "+nameB+" up")
}

// bridge connects all hosts to the bridge of a namespace of its own.
func (f *fabric) bridge() {
	f.Helper()
	f.sw = newNS(f.T)
	ipIn(f.T, f.sw, fmt.Sprintf("link add br0 mtu %d up type bridge mcast_snooping 0", f.mtu))
	for i, h := range f.hosts {
		port := fmt.Sprint("port", i)
		f.pair(h.ns, "up0", f.sw, port)
		ipIn(f.T, f.sw, "link set "+port+" master br0")
	}
}

// vtep is the address of a host's VTEP on a wire that all share.
func (f *fabric) vtep(i int) netip.Prefix {
	if f.v6 {
		return netip.MustParsePrefix(fmt.Sprintf("2001:db8::%d/64", i+1))
	}
	return netip.MustParsePrefix(fmt.Sprintf("192.0.2.%d/24", i+1))
}

// uplink makes a device of this host the one that others are reached by.
func (h *host) uplink(name string, at netip.Prefix) {
	h.f.Helper()
	ipIn(h.f.T, h.ns, "addr add "+at.String()+" dev "+name+nodad(at.Addr()))
	h.up, h.ip = device(h.f.T, h.ns, name), at.Addr()
	if h.control != nil {
		h.underlayRecord()
		return
	}
	if !h.f.kernel {
		return
	}
	var err error
	if h.tunnel, err = in(h.ns, func() (int, error) { return veth.CollectMD("tunnel0", bpf.DefaultPort) }); err != nil {
		h.f.Fatal(err)
	}
}

// nodad: an address of IPv6 is otherwise not there yet for a second.
func nodad(ip netip.Addr) string {
	if ip.Is6() {
		return " nodad"
	}
	return ""
}

func device(t *testing.T, ns *veth.NS, name string) net.Interface {
	t.Helper()
	i, err := in(ns, func() (*net.Interface, error) { return net.InterfaceByName(name) })
	if err != nil {
		t.Fatalf("find %s: %v", name, err)
	}
	return *i
}

// in does something that returns a value in a namespace.
func in[T any](ns *veth.NS, fn func() (T, error)) (value T, err error) {
	err = ns.Do(func() (err error) {
		value, err = fn()
		return err
	})
	return value, err
}

// sync tells every host of all, for whom no control plane does it.
func (f *fabric) sync() {
	f.Helper()
	if f.control {
		f.peers()
		return
	}
	for _, h := range f.hosts {
		h.set(h.state())
	}
}

func (h *host) set(s datapath.State) []datapath.Change {
	h.f.Helper()
	changes, err := in(h.ns, func() ([]datapath.Change, error) { return h.dp.Set(s) })
	if err != nil {
		h.f.Fatalf("%s: %v", h.name, err)
	}
	return changes
}

// state is what this host has to know: its own containers, and the others'.
func (h *host) state() datapath.State {
	s := datapath.State{Underlay: h.underlay()}
	vnis := map[uint32]bool{}
	for _, other := range h.f.hosts {
		if other != h && h.up.Index > 0 {
			s.Peers = append(s.Peers, h.peer(other))
		}
		for _, c := range other.containers {
			if !vnis[c.vni] {
				vnis[c.vni] = true
				s.Networks = append(s.Networks, datapath.Network{VNI: c.vni, Broadcast: h.f.broadcast})
			}
			if other == h {
				s.Endpoints = append(s.Endpoints, c.endpoint())
			} else {
				s.Remotes = append(s.Remotes, datapath.Remote{VNI: c.vni, MAC: c.mac, Addrs: c.addrs(), Peer: other.ip})
			}
		}
	}
	return s
}

func (h *host) underlay() datapath.Underlay {
	u := datapath.Underlay{Ifindex: h.up.Index, XDP: h.f.xdp && h.up.Index > 0}
	if h.tunnel > 0 {
		u.Encap, u.Tunnel = datapath.EncapKernel, h.tunnel
	}
	if h.ip.Is4() {
		u.IPv4 = h.ip
	} else {
		u.IPv6 = h.ip
	}
	return u
}

func (h *host) peer(other *host) datapath.Peer {
	p := datapath.Peer{IP: other.ip, Local: datapath.MAC(h.up.HardwareAddr), MTU: h.f.mtu}
	if next, routed := h.nextHop[other]; routed {
		p.NextHop = next
	} else {
		p.NextHop = datapath.MAC(other.up.HardwareAddr)
	}
	if h.pathMTU > 0 {
		p.MTU = h.pathMTU
	}
	return p
}

// cut makes uplinks cut up what is to be segments before it is sent, as
// hardware does at the latest. By size: the number of segments is not known
// any more when a frame has got outer headers.
func (f *fabric) cut(on bool) {
	f.Helper()
	size := 65536
	if on {
		size = f.mtu
	}
	for _, h := range f.hosts {
		if h.up.Index > 0 {
			ipIn(f.T, h.ns, fmt.Sprintf("link set %s gso_max_size %d", h.up.Name, size))
		}
	}
}
