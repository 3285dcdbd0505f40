// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"encoding/binary"
	"os"
	"syscall"
	"testing"
)

// tap is a device to send to, and a socket on its peer that sees what comes
// out.
type tap struct {
	t       *testing.T
	ifindex int
	socket  int
}

func newTap(t *testing.T, name string) tap {
	t.Helper()
	here(t, "ip link add "+name+" type veth peer name "+name+"p", "ip link set "+name+" addrgenmode none",
		"ip link set "+name+"p addrgenmode none", "ip link set "+name+" up", "ip link set "+name+"p up")
	netns{t, os.Getpid()}.ready(name, name+"p")
	t.Cleanup(func() { here(t, "ip link del "+name) })
	all := binary.NativeEndian.Uint16(be.AppendUint16(nil, syscall.ETH_P_ALL))
	s, err := syscall.Socket(syscall.AF_PACKET, syscall.SOCK_RAW|syscall.SOCK_NONBLOCK, int(all))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(s) })
	if err := syscall.Bind(s, &syscall.SockaddrLinklayer{Protocol: all, Ifindex: index(t, name+"p")}); err != nil {
		t.Fatal(err)
	}
	return tap{t, index(t, name), s}
}

// got returns the frames that came so far. A veth hands them over by a
// softirq that has run before the system call that sent them returns.
func (p tap) got() (frames [][]byte) {
	p.t.Helper()
	for {
		b := make([]byte, 2048)
		n, from, err := syscall.Recvfrom(p.socket, b, 0)
		if err != nil {
			return frames
		}
		if ll := from.(*syscall.SockaddrLinklayer); ll.Pkttype != syscall.PACKET_OUTGOING {
			frames = append(frames, b[:n])
		}
	}
}

func (p tap) want(what string, frames ...[]byte) {
	p.t.Helper()
	got := p.got()
	if len(got) != len(frames) {
		p.t.Errorf("%s: got %d frames, want %d", what, len(got), len(frames))
		return
	}
	for i, b := range frames {
		if dump(got[i]) != dump(b) {
			p.t.Errorf("%s, frame %d: got\n%swant\n%s", what, i, dump(got[i]), dump(b))
		}
	}
}

// encapsulated is what VTEP 1 or its twin gets.
func encapsulated(dst string, inner []byte) []byte {
	return eth(macBelow, macUp, 0x0800, ipv4(ip{src: vtepUs, dst: dst, proto: 17, frag: 0x4000},
		udp(50000, 4789, vxlan(vxlanI, 100, inner))))
}

type flooding struct {
	*world
	local, other, below tap
}

func newFlooding(t *testing.T, n VniEntry) flooding {
	f := flooding{world: newWorld(t), local: newTap(t, "tap0"), other: newTap(t, "tap1"), below: newTap(t, "tap2")}
	for id, remote := range map[uint32]string{1: vtepR, 8: "192.0.2.8"} {
		v, err := NewVtep(Tunnel{LocalMAC: mac(macUp), RemoteMAC: mac(macBelow), Local: addr(vtepUs), Remote: addr(remote),
			Ifindex: f.below.ifindex, MTU: 1500})
		if err != nil {
			t.Fatal(err)
		}
		f.put("vtep", id, &v)
	}
	n.Flags = TCVniFlagVNI_BUM
	f.put("vni", uint32(100), &n)
	f.receivers(100, Receiver{Ifindex: lo, Endpoint: 1}, Receiver{Vtep: 1}, Receiver{Ifindex: uint32(f.local.ifindex), Endpoint: 2},
		Receiver{Vtep: 3}, Receiver{Vtep: 8}, Receiver{Ifindex: uint32(f.other.ifindex), Endpoint: 3})
	return f
}

func TestFlood(t *testing.T) {
	f := newFlooding(t, VniEntry{})
	for what, in := range map[string][]byte{
		"ipv4":         to(allOnes),
		"ipv6":         eth("33:33:00:00:00:fb", macA, 0x86dd, ipv6(ip{src: ip6A, dst: "ff02::fb", proto: 17}, udp(1, 2, fill(9)))),
		"unknown":      arpFrame(allOnes, arp(1, macA, ipA, zeroMAC, "10.0.0.77")),
		"announcement": arpFrame(allOnes, arp(1, macA, ipA, zeroMAC, ipA)),
	} {
		if got := f.run("tc", vector{name: what, in: in}).verdict; got != "flood flooded" {
			t.Errorf("%s: got %q, want %q", what, got, "flood flooded")
		}
		f.local.want(what+", local", in)
		f.other.want(what+", other local", in)
		f.below.want(what+", underlay", encapsulated(vtepR, in), encapsulated("192.0.2.8", in))
		if got := f.run("xdp", vector{name: what, in: in}).verdict; got != "pass deferred" {
			t.Errorf("%s: xdp: got %q, want %q", what, got, "pass deferred")
		}
		f.below.want(what + ", by XDP")
	}
}

// What came from a VTEP goes to local receivers only.
func TestSplitHorizon(t *testing.T) {
	f := newFlooding(t, VniEntry{})
	for what, inner := range map[string][]byte{
		"ipv4": inside(allOnes, 0, 20), "arp": eth(allOnes, macR, 0x0806, arp(1, macR, ipR, zeroMAC, ipA)),
	} {
		for over, in := range map[string][]byte{"ipv4": overlay4(ip{}, vxlanI, 100, inner), "ipv6": overlay6(ip{}, vxlanI, 100, inner)} {
			what := what + " over " + over
			if got := f.run("tc", vector{name: what, in: in, uplink: true}).verdict; got != "flood flooded" {
				t.Errorf("%s: got %q, want %q", what, got, "flood flooded")
			}
			f.local.want(what+", local", inner)
			f.other.want(what+", other local", inner)
			f.below.want(what + ", underlay")
		}
	}
}

// A sender may broadcast so many times at once, and then has to wait.
func TestFloodRate(t *testing.T) {
	const hour, burst = 3600e9, 5
	f := newFlooding(t, VniEntry{BumInterval: hour, BumBurst: burst})
	for _, v := range []vector{{name: "endpoint", in: to(allOnes)},
		{name: "uplink", in: overlay4(ip{}, vxlanI, 100, inside(allOnes, 0, 20)), uplink: true}} {
		for i := range 2 * burst {
			want := "flood flooded"
			if i >= burst {
				want = "drop bum_rate"
			}
			if got := f.run("tc", v).verdict; got != want {
				t.Errorf("%s, frame %d: got %q, want %q", v.name, i, got, want)
			}
		}
	}
}

// A frame goes to nobody: an empty list, none, or VTEPs it does not fit.
func TestFloodNobody(t *testing.T) {
	f := newFlooding(t, VniEntry{})
	f.receivers(100, Receiver{Ifindex: lo, Endpoint: 1}, Receiver{}, Receiver{Ifindex: uint32(f.local.ifindex)})
	if got := f.run("tc", vector{name: "empty", in: to(allOnes)}).verdict; got != "drop bum_empty" {
		t.Errorf("list of the sender alone: got %q, want %q", got, "drop bum_empty")
	}
	f.local.want("after the end of the list")
	f.clear("bum")
	if got := f.run("tc", vector{name: "none", in: to(allOnes)}).verdict; got != "drop bum_empty" {
		t.Errorf("no list: got %q, want %q", got, "drop bum_empty")
	}
}

// VTEPs of one list share an address family: others are skipped and counted.
func TestFloodFamilies(t *testing.T) {
	f := newFlooding(t, VniEntry{})
	f.receivers(100, Receiver{Vtep: 1}, Receiver{Vtep: 2})
	before := f.totals()
	if _, _, err := f.tc.Programs["tc_endpoint"].Test(to(allOnes)); err != nil {
		t.Fatal(err)
	}
	after, slot := f.totals(), StatsSlot(TCActionACT_DROP, TCReasonREASON_BUM_FAMILY)
	if got := after[slot] - before[slot]; got != 1 {
		t.Errorf("skipped: got %d, want 1", got)
	}
	f.below.want("underlay", encapsulated(vtepR, to(allOnes)))
}
