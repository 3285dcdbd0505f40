// SPDX-License-Identifier: Apache-2.0

package net

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"foundry/datapath"
)

// newStrange makes two hosts whose uplink is a device of a kind that runs no
// programs of XDP.
func newStrange(t *testing.T) *fabric {
	t.Helper()
	f := newHosts(t, 2, wire{control: true})
	f.pair(f.hosts[0].ns, "wire0", f.hosts[1].ns, "wire0")
	for i, h := range f.hosts {
		// The device below has no address, but would answer for the one above.
		if err := h.ns.Do(func() error { return os.WriteFile("/proc/sys/net/ipv4/conf/all/arp_ignore", []byte("1"), 0) }); err != nil {
			t.Fatal(err)
		}
		ipIn(t, h.ns, "link add link wire0 name up0 type macvlan mode bridge", "link set up0 up")
		h.uplink("up0", f.vtep(i))
	}
	f.peers()
	return f
}

// An uplink whose driver runs no XDP is one of tc. To want it with XDP is
// refused, with the reason; and the kernel's generic XDP, which would run but
// lose what is segmented, is nowhere.
func TestStrangeUplink(t *testing.T) {
	f := newStrange(t)
	for _, h := range f.hosts {
		var got datapath.UnderlayRecord
		err := h.control.Call("C.SetUnderlay", datapath.UnderlayRecord{Ifname: "up0", XDP: datapath.XDPOn}, &got)
		if err == nil || !strings.Contains(err.Error(), `driver "macvlan" of up0`) {
			t.Errorf("XDP on up0: got %+v, %v; want an error that names the driver", got, err)
		}
		got = ask[datapath.UnderlayRecord](h.control, "SetUnderlay", datapath.UnderlayRecord{Ifname: "up0", XDP: datapath.XDPAuto})
		if got.Native || got.Problem != "" || !strings.Contains(got.NoXDP, `driver "macvlan" of up0`) {
			t.Errorf("underlay: got %+v, want no XDP, the reason, and no problem", got)
		}
		out, err := exec.Command("nsenter", "--net="+path(h.ns), "ip", "-d", "link", "show").CombinedOutput()
		if err != nil || strings.Contains(string(out), "xdp") {
			t.Errorf("%s: devices: %v, want none with XDP\n%s", h.name, err, out)
		}
	}
	a, b := f.hosts[0].container(place{vni: 100, n: 1}), f.hosts[1].container(place{vni: 100, n: 2})
	f.exchange(a, b, few)
	f.intact()
	f.settled()
	f.drops()
}

// What becomes of the underlay while containers talk, they hardly notice.
func TestUplinkChanges(t *testing.T) {
	for _, w := range []wire{{control: true}, {control: true, v6: true}} {
		t.Run(w.String(), func(t *testing.T) {
			f := newFabric(t, 2, w)
			a, b := f.hosts[0].container(place{vni: 100, n: 1}), f.hosts[1].container(place{vni: 100, n: 2})
			a.streams(b, b.ip4, few)
			f.narrows(a, b)
			// Over IPv6 the kernels now and then do not find each other again after this, for
			// as long as one looks, before any tunnel is asked for.
			if !w.v6 {
				f.newMAC(a, b)
			}
			f.newUplinks()
			f.exchange(a, b, few)
			f.intact()
			f.settled()
		})
	}
}

// narrows makes the wire narrower: containers keep their MTU and are told.
func (f *fabric) narrows(a, b *container) {
	f.Helper()
	for _, h := range f.hosts {
		ipIn(f.T, h.ns, fmt.Sprintf("link set up0 mtu %d", narrow))
	}
	f.mtu = narrow
	a.learns(b, f.inside())
	b.learns(a, f.inside())
	f.exchange(a, b, few)
	if c := f.hosts[0].container(place{vni: 100, n: 3}); c.mtu != f.inside() {
		f.Errorf("MTU of a new container: got %d, want %d", c.mtu, f.inside())
	}
}

// newMAC exchanges the other host's NIC: another MAC, and nobody says so but
// ARP and ND.
func (f *fabric) newMAC(a, b *container) {
	f.Helper()
	ipIn(f.T, f.hosts[1].ns, "link set up0 address 02:00:00:00:99:01", "neigh flush all")
	f.hosts[1].announceMAC()
	f.eventually("ways to the new MAC", func() bool {
		return ask[datapath.Snapshot](f.hosts[0].control, "Snapshot", true).Peers[0].NextHop == datapath.MAC{2, 0, 0, 0, 0x99, 1}
	})
	a.reaches(b)
	b.reaches(a)
}

// newUplinks takes the wire away and lays another, with the old addresses.
func (f *fabric) newUplinks() {
	f.Helper()
	ipIn(f.T, f.hosts[0].ns, "link del up0")
	f.mtu = 1500
	f.pair(f.hosts[0].ns, "up0", f.hosts[1].ns, "up0")
	for i, h := range f.hosts {
		ipIn(f.T, h.ns, "addr add "+f.vtep(i).String()+" dev up0"+nodad(h.ip))
	}
	f.eventually("the new uplinks are in use", func() bool {
		for _, h := range f.hosts {
			s := ask[datapath.Snapshot](h.control, "Snapshot", true)
			if s.Underlay.Ifindex != device(f.T, h.ns, "up0").Index || s.Underlay.Problem != "" || s.Peers[0].Stale {
				return false
			}
		}
		return true
	})
}

// announceMAC has a host say where it is, as a new NIC makes it do.
func (h *host) announceMAC() {
	h.f.Helper()
	for _, other := range h.f.hosts {
		if other != h {
			// A first packet may be lost while the kernel makes up its mind about its addresses.
			h.f.eventually(h.name+" is heard by "+other.name, func() bool { return pingSizes(h.ns, other.ip, 100, 100) == nil })
		}
	}
}
