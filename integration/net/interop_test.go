// SPDX-License-Identifier: Apache-2.0

package net

import (
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"foundry/bpf"
	"foundry/datapath"
	"foundry/datapath/veth"
	"foundry/integration/env"
)

// foreign is a host whose VXLAN is somebody else's.
type foreign struct {
	*fabric
	ours  *host
	a     *container // on our host
	b     *container // on the other one, in its own namespace
	other *host      // not one of fabric.hosts: it has no data plane of ours
	peer  datapath.Peer
	// before is what either side had counted when both were ready: what comes
	// in without a checksum when there is nobody yet to take it is counted, too.
	before map[string]uint64
}

// interop says what lies between the two.
type interop struct {
	wire
	vlan   bool   // the uplink is a VLAN device
	kernel bool   // our headers are the kernel's, too
	xdp    bool   // our container is one of XDP
	device string // more options of the foreign device
}

const (
	foreignVNI = 100
	ourDevice  = "vx" // of the foreign host
)

// newForeign makes the two hosts and their wire. The foreign one has an
// address on it, and what setup makes there: ours speaks to it from the first.
func newForeign(t *testing.T, c interop, setup func(*foreign)) *foreign {
	t.Helper()
	env.RequireRoot(t)
	if c.vlan && !hasKind(t, "vlan") {
		t.Skip("the kernel has no VLAN devices")
	}
	f := &foreign{fabric: newHosts(t, 1, c.wire)}
	f.broadcast = datapath.Broadcast{On: true}
	f.ours, f.other = f.hosts[0], &host{f: f.fabric, name: "the other host", ns: newNS(t)}
	f.pair(f.ours.ns, "up0", f.other.ns, "up0")
	name := "up0"
	if c.vlan {
		name = "up0.7"
		for _, h := range []*host{f.ours, f.other} {
			ipIn(t, h.ns, "link add link up0 name up0.7 type vlan id 7", "link set up0.7 up")
		}
	}
	f.ours.uplink(name, f.vtep(0))
	f.other.uplink(name, f.vtep(1))
	f.peer = datapath.Peer{IP: f.other.ip, Local: datapath.MAC(f.ours.up.HardwareAddr), NextHop: datapath.MAC(f.other.up.HardwareAddr), MTU: f.mtu}
	f.b = &container{place: place{vni: foreignVNI, n: 2, mtu: f.room()}, h: f.other, ns: f.other.ns, name: ourDevice, mtu: f.room(),
		mac: datapath.MAC{2, 0, 0, 0, 0, 2}, ip4: netip.MustParseAddr("10.0.0.2"), ip6: netip.MustParseAddr("fd00::2")}
	setup(f)
	f.a = f.ours.bare(place{vni: foreignVNI, n: 1, mtu: f.room(), xdp: c.xdp})
	f.ours.containers = append(f.ours.containers, f.a)
	f.tell(c)
	f.before = f.badSums()
	return f
}

// badSums counts what arrived with wrong checksums.
func (f *foreign) badSums() map[string]uint64 {
	f.Helper()
	all := map[string]uint64{}
	for name, ns := range map[string]*veth.NS{"our host": f.ours.ns, "our container": f.a.ns, "the other host": f.other.ns, "its container": f.b.ns} {
		for counter, n := range snmp(f.fabric, ns) {
			if strings.HasSuffix(counter, "InCsumErrors") {
				all[name+": "+counter] = n
			}
		}
	}
	return all
}

// hasKind says whether the kernel has a kind of device.
func hasKind(t *testing.T, kind string) bool {
	out, err := exec.Command("nsenter", "--net="+path(newNS(t)), "ip", "link", "add", "link", "lo", "name", "try", "type", kind, "id", "1").CombinedOutput()
	return err == nil || !strings.Contains(string(out), "Unknown device type")
}

// room is what the wire leaves for containers.
func (f *foreign) room() int {
	if f.v6 {
		return f.mtu - bpf.Overhead6
	}
	return f.mtu - bpf.Overhead4
}

// tell gives our host its state: the other one is a VTEP like any.
func (f *foreign) tell(c interop) {
	f.Helper()
	s := f.ours.state()
	if c.kernel {
		tunnel, err := in(f.ours.ns, func() (int, error) { return veth.CollectMD("fx0", bpf.DefaultPort) })
		if err != nil {
			f.Fatal(err)
		}
		s.Underlay.Encap, s.Underlay.Tunnel = datapath.EncapKernel, tunnel
	}
	s.Peers = append(s.Peers, f.peer)
	s.Remotes = append(s.Remotes, datapath.Remote{VNI: foreignVNI, MAC: f.b.mac, Addrs: f.b.addrs(), Peer: f.peer.IP})
	f.ours.set(s)
}

// kernelDevice is the kernel's own VXLAN, with the address of a container.
func (f *foreign) kernelDevice(vni int, options string) {
	f.Helper()
	ipIn(f.T, f.other.ns,
		fmt.Sprintf("link add %s mtu %d address %v type vxlan id %d dstport 4789 local %v remote %v dev %s %s",
			ourDevice, f.b.mtu, f.b.mac, vni, f.other.ip, f.ours.ip, f.other.up.Name, options),
		"link set "+ourDevice+" up",
		fmt.Sprintf("addr add %v/8 dev %s", f.b.ip4, ourDevice),
		fmt.Sprintf("addr add %v/64 dev %s nodad", f.b.ip6, ourDevice))
}

// talk is all that two containers do: both find each other first, with
// broadcasts; packets of all sizes, TCP with all offloads and in large
// writes, and UDP that is to be cut up.
func (f *foreign) talk() {
	f.Helper()
	f.b.reaches(f.a)
	f.a.reaches(f.b)
	n := few
	if env.Slowness() > 1 { // all sizes take too long where all is emulated
		n = 1 << 20
	} else {
		f.a.pings(f.b)
		f.b.pings(f.a)
	}
	for i, ip := range f.b.addrs() {
		f.a.streams(f.b, ip, n)
		f.b.streams(f.a, f.a.addrs()[i], n)
		f.a.segments(f.b, ip)
	}
	// Cut up before they arrive, as a wire would have them: a frame of many
	// datagrams in a tunnel is one that nobody could cut up any more.
	ipIn(f.T, f.other.ns, "link set up0 gso_max_segs 1")
	for _, ip := range f.a.addrs() {
		f.b.segments(f.a, ip)
	}
}

// fine wants no wrong checksum and no drop, on either side.
func (f *foreign) fine() {
	f.Helper()
	for counter, n := range f.badSums() {
		if n != f.before[counter] {
			f.Errorf("%s: got %d more", counter, n-f.before[counter])
		}
	}
	f.drops()
}

// The kernel's VXLAN device, both ways, with and without checksums outside.
func TestInteropKernel(t *testing.T) {
	for name, c := range map[string]interop{
		"IPv4":                    {},
		"IPv4 with checksums":     {device: "udpcsum"},
		"IPv4, 9000":              {wire: wire{mtu: 9000}},
		"IPv4 in a VLAN":          {vlan: true},
		"IPv4 in a VLAN, 9000":    {vlan: true, wire: wire{mtu: 9000}},
		"IPv4, kernel's headers":  {kernel: true},
		"IPv4, XDP on the uplink": {wire: wire{xdp: true}},
		"IPv4, XDP everywhere":    {wire: wire{xdp: true}, xdp: true},
		"IPv6":                    {wire: wire{v6: true}, device: "udp6zerocsumtx udp6zerocsumrx"},
		"IPv6 with checksums":     {wire: wire{v6: true}, device: "udp6zerocsumrx"},
		"IPv6, 9000":              {wire: wire{v6: true, mtu: 9000}, device: "udp6zerocsumtx udp6zerocsumrx"},
		"IPv6 in a VLAN":          {vlan: true, wire: wire{v6: true}, device: "udp6zerocsumtx udp6zerocsumrx"},
		"IPv6, kernel's headers":  {kernel: true, wire: wire{v6: true}, device: "udp6zerocsumtx udp6zerocsumrx"},
		"IPv6, XDP on the uplink": {wire: wire{v6: true, xdp: true}, device: "udp6zerocsumtx udp6zerocsumrx"},
		"IPv6, 9000, kernel's":    {kernel: true, wire: wire{v6: true, mtu: 9000}, device: "udp6zerocsumtx udp6zerocsumrx"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newForeign(t, c, func(f *foreign) { f.kernelDevice(foreignVNI, c.device) })
			f.talk()
			f.fine()
		})
	}
}
