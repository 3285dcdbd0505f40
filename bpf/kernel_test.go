// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// tunnelled is uplink with VTEP 7 behind a VXLAN device of this kernel, which
// writes and reads the outer headers.
func (w *world) tunnelled(t *testing.T, local, remote string) {
	t.Helper()
	here(t, "ip link add fdvx0 type vxlan external dstport 4789 srcport 49152 65535 nolearning udp6zerocsumrx", "ip link set fdvx0 mtu 65485 up")
	t.Cleanup(func() { here(t, "ip link del fdvx0") })
	v, err := NewVtep(Tunnel{LocalMAC: make(net.HardwareAddr, 6), RemoteMAC: make(net.HardwareAddr, 6), Local: addr(local),
		Remote: addr(remote), Ifindex: index(t, "up0"), MTU: 1500})
	if err != nil {
		t.Fatal(err)
	}
	v.Tunnel = uint32(index(t, "fdvx0"))
	w.put("vtep", uint32(7), &v)
	w.put("vtep_by_ip", &VtepKey{Family: Family(addr(remote)), Ip: AddrOf(addr(remote))}, uint32(7))
	w.forwarding(100, macR, FdbEntry{Type: TCFdbTypeFDB_REMOTE, Target: 7})
	w.hook(t, w.tc.Programs["tc_tunnel"], index(t, "fdvx0"))
}

// underlay is a device of ours with a VXLAN device behind it, and a socket on
// its other end, from where frames are sent to it.
func newUnderlay(t *testing.T, w *world) tap {
	t.Helper()
	up := newTap(t, "up0")
	here(t, "ip link set up0 address "+macUp, "ip addr add "+vtepUs+"/24 dev up0", "ip addr add "+vtep6Us+"/64 dev up0 nodad",
		"ip link set lo up", "ip link add fdvx0 type vxlan external dstport 4789 srcport 49152 65535 nolearning udp6zerocsumrx",
		"ip link set fdvx0 addrgenmode none", "ip link set fdvx0 up")
	netns{t, os.Getpid()}.ready("up0")
	t.Cleanup(func() { here(t, "ip link del fdvx0") })
	w.hook(t, w.tc.Programs["tc_tunnel"], index(t, "fdvx0"))
	// One CPU takes frames in the order that they were sent in.
	runtime.LockOSThread()
	var one, all unix.CPUSet
	one.Set(0)
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		t.Fatal(err)
	}
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.SchedSetaffinity(0, &all); err != nil {
			t.Error(err)
		}
		runtime.UnlockOSThread()
	})
	return up
}

// arrives sends a frame to the kernel's device, and says what the program
// behind it decided. Another frame, which is blackholed, says when to look.
func (w *world) arrives(up tap, in []byte) string {
	w.Helper()
	last := overlay4(ip{}, vxlanI, 100, inside(macHole, 0, 20))
	before := w.totals()
	for _, b := range [][]byte{in, last} {
		if _, err := syscall.Write(up.socket, b); err != nil {
			w.Fatal(err)
		}
	}
	hole := StatsSlot(TCActionACT_DROP, TCReasonREASON_BLACKHOLE)
	for deadline := time.Now().Add(patience); ; runtime.Gosched() {
		after := w.totals()
		n, verdict := uint64(0), byKernel
		for slot := range after {
			n += after[slot] - before[slot]
		}
		if after[hole] == before[hole] && n < 2 && time.Now().Before(deadline) {
			continue
		}
		after[hole] = max(after[hole]-1, before[hole])
		for slot, n := range after {
			if n != before[slot] {
				action, reason := Action(slot/ReasonSlots), Reason(slot%ReasonSlots)
				verdict = fmt.Sprintf("%s %s", w.names.Actions[action], w.names.Reasons[reason])
			}
		}
		return verdict
	}
}

// Every vector of the uplink once more, with the kernel's own device to take
// the outer headers off.
func TestDecapByKernel(t *testing.T) {
	w := newWorld(t)
	up := newUnderlay(t, w)
	for _, v := range decapVectors() {
		if v.gso > 0 {
			continue
		}
		ep, c := sender(), settings()
		if v.ep != nil {
			v.ep(&ep, &c)
		}
		w.configure(ep, c)
		want := v.want
		if v.kernel != "" {
			want = v.kernel
		}
		if got := w.arrives(up, v.in); got != want {
			t.Errorf("%s: got %q, want %q", v.name, got, want)
		}
	}
}

// byTunnel makes a VTEP one that a device encapsulates for.
func (w *world) byTunnel(id uint32, local, remote string, device int) {
	w.Helper()
	v, err := NewVtep(Tunnel{LocalMAC: mac(zeroMAC), RemoteMAC: mac(zeroMAC), Local: addr(local), Remote: addr(remote), Ifindex: lo, MTU: 1500})
	if err != nil {
		w.Fatal(err)
	}
	v.Tunnel = uint32(device)
	w.put("vtep", id, &v)
}

// The programs hand over the frame as it came, and XDP hands it to tc.
func TestEncapByKernel(t *testing.T) {
	w := newWorld(t)
	w.byTunnel(1, vtepUs, vtepR, lo)
	w.byTunnel(2, vtep6Us, vtep6R, lo)
	for _, v := range []vector{
		{name: "over IPv4", in: remote(macR, 0, 20), want: "redirect remote", xdp: "pass deferred"},
		{name: "over IPv6", in: remote6(macR6, 3, 20), want: "redirect remote", xdp: "pass deferred"},
		{name: "an ARP reply", in: arpFrame(macR, arp(2, macA, ipA, macR, ipR)), want: "redirect remote", xdp: "pass deferred"},
	} {
		tc, xdp := w.run("tc", v), w.run("xdp", v)
		if tc.verdict != v.want || xdp.verdict != v.xdp || !bytes.Equal(tc.out, v.in) || !bytes.Equal(xdp.out, v.in) {
			t.Errorf("%s: tc: got %q, want %q; xdp: got %q, want %q; or a frame was changed", v.name, tc.verdict, v.want, xdp.verdict, v.xdp)
		}
	}
}

// A broadcast goes to each VTEP by the kernel's device, with headers as we
// write them; one that we would have to write headers for is left out.
func TestFloodByKernel(t *testing.T) {
	w := newWorld(t)
	up := newUnderlay(t, w)
	tunnel := index(t, "fdvx0")
	for id, ip := range map[uint32]string{1: vtepR, 8: "192.0.2.8"} {
		here(t, "ip neigh add "+ip+" lladdr "+macBelow+" dev up0")
		w.byTunnel(id, vtepUs, ip, tunnel)
	}
	w.put("vni", uint32(100), &VniEntry{Flags: TCVniFlagVNI_BUM})
	w.receivers(100, Receiver{Vtep: 1}, Receiver{Vtep: 8})
	in := to(allOnes)
	up.got()
	if got := w.run("tc", vector{name: "flood", in: in}).verdict; got != "flood flooded" {
		t.Errorf("got %q, want %q", got, "flood flooded")
	}
	var frames []string
	for _, b := range up.got() {
		// The kernel numbers packets, and so sums up others.
		copy(b[18:], []byte{0, 0})
		copy(b[24:], []byte{0, 0})
		be.PutUint16(b[24:], checksum(b[14:34]))
		frames = append(frames, dump(b))
	}
	want := []string{dump(encapsulated(vtepR, in)), dump(encapsulated("192.0.2.8", in))}
	if !slices.Equal(frames, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(frames, "\n"), strings.Join(want, "\n"))
	}
	w.tunnel(3, vtepUs, "192.0.2.3", TCVtepStateVTEP_UP)
	w.receivers(100, Receiver{Vtep: 3}, Receiver{Vtep: 8})
	before := w.totals()
	if _, _, err := w.tc.Programs["tc_endpoint"].Test(in); err != nil {
		t.Fatal(err)
	}
	after, slot := w.totals(), StatsSlot(TCActionACT_DROP, TCReasonREASON_BUM_FAMILY)
	if got := after[slot] - before[slot]; got != 1 {
		t.Errorf("left out: got %d, want 1", got)
	}
}
