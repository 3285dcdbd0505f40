// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"foundry/bpf"
)

// tunnelled starts a Control with an underlay and a peer whose next hop is known.
func tunnelled(t *testing.T) (c *Control, far string) {
	t.Helper()
	s := newSite(t)
	far = uplink(t)
	c = s.start(t)
	if _, err := c.SetUnderlay(t.Context(), UnderlayRecord{Ifname: "up0", Encap: EncapBPF}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.AddPeer(t.Context(), PeerRecord{IP: vtepR}); err != nil {
		t.Fatal(err)
	}
	reaches(t, c, MAC{2, 0, 0, 0, 0xaa, 1})
	return c, far
}

// template is what is in the map of VTEPs about the peer.
func template(t *testing.T, c *Control) bpf.VtepEntry {
	t.Helper()
	var id uint32
	var entry bpf.VtepEntry
	key := vtepKey(vtepR)
	if err := c.data.tc.Maps["vtep_by_ip"].Lookup(&key, &id); err != nil {
		t.Fatal(err)
	}
	if err := c.data.tc.Maps["vtep"].Lookup(&id, &entry); err != nil {
		t.Fatal(err)
	}
	return entry
}

// reaches waits until frames to the peer go to a MAC.
func reaches(t *testing.T, c *Control, mac MAC) {
	t.Helper()
	eventually(t, "the next hop is "+mac.String(), func() bool {
		e := template(t, c)
		return e.State == bpf.TCVtepStateVTEP_UP && MAC(e.Outer[2:8]) == mac
	})
}

func underlay(t *testing.T, c *Control) UnderlayRecord {
	t.Helper()
	u, ok := c.Underlay()
	if !ok {
		t.Fatal("the underlay is gone")
	}
	return u
}

func TestPeerMovesToAnotherMAC(t *testing.T) {
	c, far := tunnelled(t)
	if out, err := in(t, far, "ip link set up0p address 02:00:00:00:aa:02"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// Who has a new MAC says so; an ARP request for it does as well.
	run(t, "ip neigh flush dev up0")
	reaches(t, c, MAC{2, 0, 0, 0, 0xaa, 2})
	if got := c.ListPeers()[0]; got.Stale || got.NextHop != (MAC{2, 0, 0, 0, 0xaa, 2}) || got.PathMTU != 1500 {
		t.Errorf("peer: got %+v", got)
	}
}

// A next hop that has another MAC and says nothing is found out: the kernel is
// made to ask, as it does not send what the programs send.
func TestPeerMovesSilently(t *testing.T) {
	s := newSite(t)
	far := uplink(t)
	s.Interval = 200 * time.Millisecond
	for _, setting := range []string{"delay_first_probe_time=1", "base_reachable_time_ms=500", "ucast_solicit=1", "retrans_time_ms=200"} {
		name, value, _ := strings.Cut(setting, "=")
		if err := os.WriteFile("/proc/sys/net/ipv4/neigh/up0/"+name, []byte(value), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := s.start(t)
	if _, err := c.SetUnderlay(t.Context(), UnderlayRecord{Ifname: "up0", Encap: EncapBPF}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.AddPeer(t.Context(), PeerRecord{IP: vtepR}); err != nil {
		t.Fatal(err)
	}
	reaches(t, c, MAC{2, 0, 0, 0, 0xaa, 1})
	if out, err := in(t, far, "ip link set up0p address 02:00:00:00:aa:02"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	reaches(t, c, MAC{2, 0, 0, 0, 0xaa, 2})
}

// A peer that does not answer is stale: the kernel looks for it frame by frame.
func TestPeerIsSilent(t *testing.T) {
	c, far := tunnelled(t)
	if out, err := in(t, far, "ip link set up0p arp off"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	run(t, "ip neigh flush dev up0")
	eventually(t, "the peer is stale", func() bool { return template(t, c).State == bpf.TCVtepStateVTEP_STALE })
	if status, p := c.Status(), c.ListPeers()[0]; status.StalePeers != 1 || p.Problem == "" || p.NextHop != (MAC{2, 0, 0, 0, 0xaa, 1}) {
		t.Errorf("got %+v, %+v", status, p)
	}
	if out, err := in(t, far, "ip link set up0p arp on"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := in(t, far, "busybox ping -c 1 -W 5 192.0.2.1"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	reaches(t, c, MAC{2, 0, 0, 0, 0xaa, 1})
}

// The MTU of the uplink is that of later endpoints, and of what is said about
// frames that are too large.
func TestUplinkShrinks(t *testing.T) {
	c, _ := tunnelled(t)
	addNetwork(t, c)
	before := add(t, c, endpoint(t, "before", "10.0.0.1/24"))
	run(t, "ip link set up0 mtu 1400")
	eventually(t, "the path has 1350", func() bool { return template(t, c).Mtu == 1350 })
	after := add(t, c, endpoint(t, "after", "10.0.0.2/24"))
	if before.MTU != 1450 || after.MTU != 1350 || underlay(t, c).MTU != 1400 {
		t.Errorf("MTUs: got %d, %d, uplink %d, want 1450, 1350, 1400", before.MTU, after.MTU, underlay(t, c).MTU)
	}
	clean(t, c)
}

func TestUplinkIsRenamedGoneAndBack(t *testing.T) {
	c, far := tunnelled(t)
	was := underlay(t, c)
	run(t, "ip link set up0 down")
	run(t, "ip link set up0 name wan0")
	t.Cleanup(func() { in(t, "/proc/self/ns/net", "ip link del wan0") })
	run(t, "ip link set wan0 up")
	eventually(t, "it is called wan0", func() bool { u := underlay(t, c); return u.Ifname == "wan0" && u.Problem == "" })
	reaches(t, c, MAC{2, 0, 0, 0, 0xaa, 1})
	run(t, "ip link del wan0")
	eventually(t, "the peer is down", func() bool { return template(t, c).State == bpf.TCVtepStateVTEP_DOWN })
	if u := underlay(t, c); u.Ifindex != 0 || u.Problem != "device wan0 is gone" || u.IPv4 != was.IPv4 {
		t.Errorf("gone: got %+v", u)
	}
	for _, line := range []string{"ip link add wan0 type veth peer name up0p netns " + far, "ip addr add 192.0.2.9/24 dev wan0", "ip link set wan0 up"} {
		run(t, line)
	}
	for _, line := range []string{"ip addr add 192.0.2.2/24 dev up0p", "ip link set up0p address 02:00:00:00:aa:03", "ip link set up0p up"} {
		if out, err := in(t, far, line); err != nil {
			t.Fatalf("%s: %v\n%s", line, err, out)
		}
	}
	reaches(t, c, MAC{2, 0, 0, 0, 0xaa, 3})
	eventually(t, "it has its address", func() bool { return underlay(t, c).IPv4 == netip.MustParseAddr("192.0.2.9") })
	if e := template(t, c); netip.AddrFrom4([4]byte(e.Outer[28:32])) != netip.MustParseAddr("192.0.2.9") {
		t.Errorf("outer source: got %v", e.Outer[16:36])
	}
	if u := underlay(t, c); u.Problem != "" || u.Ifindex == was.Ifindex {
		t.Errorf("back: got %+v", u)
	}
	clean(t, c)
}

// All that was asked of an underlay is what was filled in, and the kernel's
// device is made for its encapsulation.
func TestUnderlayChoices(t *testing.T) {
	s := newSite(t)
	uplink(t)
	c := s.start(t)
	u, err := c.SetUnderlay(t.Context(), UnderlayRecord{Ifname: "up0", Encap: EncapKernel, Port: 4790})
	if err != nil || u.Using != EncapKernel || u.Tunnel == 0 || !u.Auto || u.IPv4 != vtepUs || u.XDP != XDPAuto || u.Native {
		t.Fatalf("kernel: got %+v, %v", u, err)
	}
	clean(t, c)
	if u, err = c.SetUnderlay(t.Context(), UnderlayRecord{Ifname: "up0", Encap: EncapKernel, Port: 4791}); err != nil || pairs(t, s) != c.tunnelName(u) {
		t.Errorf("another port: got %+v, %v, devices %s", u, err, pairs(t, s))
	}
	if u, err = c.SetUnderlay(t.Context(), UnderlayRecord{Ifname: "up0"}); err != nil || u.Encap != EncapAuto || u.Using == "" || u.Port != 4789 {
		t.Errorf("auto: got %+v, %v", u, err)
	}
	if u, err = c.SetUnderlay(t.Context(), UnderlayRecord{Ifname: "up0", Encap: EncapBPF, XDP: XDPOn}); err != nil || !u.Native {
		t.Errorf("XDP: got %+v, %v", u, err)
	}
	if got := pairs(t, s); got != "" {
		t.Errorf("devices that nobody needs: %s", got)
	}
	run(t, "ip link add br0 type bridge")
	t.Cleanup(func() { run(t, "ip link del br0") })
	run(t, "ip link set br0 up")
	if _, err := c.SetUnderlay(t.Context(), UnderlayRecord{Ifname: "br0", Encap: EncapBPF, IPv4: vtepUs, XDP: XDPOn}); err == nil || !strings.Contains(err.Error(), "XDP is to be on") {
		t.Errorf("XDP where there is none: got %v", err)
	}
	clean(t, c)
}

// Over IPv6 headers take 20 bytes more, and next hops are neighbours of IPv6.
func TestUnderlayOfIPv6(t *testing.T) {
	s := newSite(t)
	far := uplink(t)
	for _, line := range []string{"ip addr flush dev up0", "ip addr add 2001:db8::1/64 dev up0 nodad"} {
		run(t, line)
	}
	if out, err := in(t, far, "ip addr add 2001:db8::2/64 dev up0p nodad"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	c := s.start(t)
	u, err := c.SetUnderlay(t.Context(), UnderlayRecord{Ifname: "up0", Encap: EncapBPF})
	if err != nil || u.IPv4.IsValid() || u.IPv6 != netip.MustParseAddr("2001:db8::1") {
		t.Fatalf("got %+v, %v", u, err)
	}
	peer := netip.MustParseAddr("2001:db8::2")
	if _, err := c.AddPeer(t.Context(), PeerRecord{IP: peer}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the next hop is known", func() bool {
		p := c.ListPeers()[0]
		return !p.Stale && p.NextHop == MAC{2, 0, 0, 0, 0xaa, 1}
	})
	if _, err := c.AddPeer(t.Context(), PeerRecord{IP: vtepR}); !errors.Is(err, ErrInvalid) {
		t.Errorf("a peer of IPv4: got %v", err)
	}
	addNetwork(t, c)
	if r := add(t, c, endpoint(t, "a", "10.0.0.1/24")); r.MTU != 1430 {
		t.Errorf("MTU: got %d, want 1430", r.MTU)
	}
	if _, err := c.SetUnderlay(t.Context(), UnderlayRecord{Ifname: "lo", Encap: EncapBPF, IPv6: peer}); err == nil {
		t.Error("an address of somebody else was taken")
	}
	clean(t, c)
}
