// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

func endpoint(id uint32, m, ip4, ip6 string) Endpoint {
	return Endpoint{Id: id, Vni: 100, Mac: macOf(m), Mtu: 1500, Ip4: IPv4(addr(ip4)), Ip6: AddrOf(addr(ip6))}
}

// Two containers on one host: neighbours from the map, and TCP with all its
// offloads, in every mix of tc and XDP.
func TestLocalTraffic(t *testing.T) {
	for _, c := range []struct {
		name       string
		xdpA, xdpB bool
	}{{"tc to tc", false, false}, {"tc to XDP", false, true}, {"XDP to tc", true, false}, {"XDP to XDP", true, true}} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			a := w.attach(t, endpoint(21, macA, ipA, ip6A), c.xdpA, 1500, ipA+"/24", ip6A+"/64")
			b := w.attach(t, endpoint(22, macB, ipB, ip6B), c.xdpB, 1500, ipB+"/24", ip6B+"/64")
			w.endpoints()
			t.Cleanup(func() {
				if t.Failed() {
					t.Log(w.endpoints())
				}
			})
			for _, size := range []string{"0", "1400", "1472", "4000"} {
				a.do("busybox ping -c 1 -W 5 -s "+size+" "+ipB, "busybox ping -6 -c 1 -W 5 -s "+size+" "+ip6B)
			}
			transfer(a.netns, b.netns, ipB+":4000")
			transfer(b.netns, a.netns, "["+ip6A+"]:4000")
			segmented(a.netns, b.netns, ipB+":4000")
			segmented(b.netns, a.netns, "["+ip6A+"]:4000")
			a.intact()
			b.intact()
			w.onlyDrops("own_probe", "bum_off", "announcement")
		})
	}
}

// onlyDrops fails when a frame was dropped for another reason.
func (w *world) onlyDrops(allowed ...string) {
	w.Helper()
	for _, line := range w.endpoints() {
		w.Log(line)
		ok := !strings.Contains(line, ": drop ")
		for _, reason := range allowed {
			ok = ok || strings.Contains(line, ": drop "+reason+",")
		}
		if !ok {
			w.Errorf("%s", line)
		}
	}
}

// The kernel's own VXLAN device at the other end, over IPv4 and IPv6, both
// ways, with segmentation where tc carries it, and all of it by XDP. It knows
// no neighbours, so broadcasts are on. The container's MTU is that of the
// underlay: it must learn what fits from us.
func TestKernelVXLAN(t *testing.T) {
	for _, c := range []struct {
		name, ours, theirs, local, remote, mtu string
		xdp, kernel                            bool
	}{
		{"over IPv4", vtepUs + "/24", vtepR + "/24", vtepUs, vtepR, "1450", false, false},
		{"over IPv6", vtep6Us + "/64", vtep6R + "/64", vtep6Us, vtep6R, "1430", false, false},
		{"over IPv4 by XDP", vtepUs + "/24", vtepR + "/24", vtepUs, vtepR, "1450", true, false},
		{"over IPv6 by XDP", vtep6Us + "/64", vtep6R + "/64", vtep6Us, vtep6R, "1430", true, false},
		{"over IPv4 by our kernel's", vtepUs + "/24", vtepR + "/24", vtepUs, vtepR, "1450", false, true},
		{"over IPv6 by our kernel's", vtep6Us + "/64", vtep6R + "/64", vtep6Us, vtep6R, "1430", false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			far := newNetns(t)
			here(t, "ip link add up0 numrxqueues 4 numtxqueues 2 type veth peer name down0 numrxqueues 2 numtxqueues 2",
				"ip link set down0 netns "+strconv.Itoa(far.pid))
			t.Cleanup(func() { here(t, "ip link del up0") })
			zeroSums := " udp6zerocsumrx"
			if c.kernel {
				zeroSums = "" // it writes them
			}
			far.do("ip addr add "+c.theirs+" dev down0 nodad", "ip link set down0 up",
				"ip link add vx type vxlan id 100 dstport 4789 local "+c.remote+" remote "+c.local+" dev down0 udp6zerocsumtx"+zeroSums,
				"ip link set vx address "+macR+" mtu "+c.mtu+" up", "ip addr add "+ipR+"/24 dev vx", "ip addr add "+ip6R+"/64 dev vx nodad")
			if c.xdp {
				far.forXDP("down0", "vx")
			}
			here(t, "ip addr add "+c.ours+" dev up0 nodad", "ip link set up0 up")
			far.ready("down0")
			netns{t, os.Getpid()}.ready("up0")
			a := w.attach(t, endpoint(21, macA, ipA, ip6A), c.xdp, 1500, ipA+"/24", ip6A+"/64")
			if c.kernel {
				w.tunnelled(t, c.local, c.remote)
			} else {
				w.uplink(t, far, c.local, c.remote)
			}
			if c.xdp {
				w.hookXDP(t, w.xdp.Programs["xdp_uplink"], index(t, "up0"))
			}
			w.put("vni", uint32(100), &VniEntry{Flags: TCVniFlagVNI_BUM})
			w.receivers(100, Receiver{Ifindex: uint32(a.ifindex), Endpoint: 21}, Receiver{Vtep: 7})
			w.endpoints()
			w.exchange(a, far, c.kernel)
		})
	}
}

func (w *world) exchange(a port, far netns, kernel bool) {
	w.Helper()
	far.do("busybox ping -c 1 -W 5 "+ipA, "busybox ping -6 -c 1 -W 5 "+ip6A)
	a.do("busybox ping -c 1 -W 5 "+ipR, "busybox ping -6 -c 1 -W 5 "+ip6R)
	transfer(a.netns, far, ipR+":4000")
	transfer(far, a.netns, ipA+":4000")
	transfer(a.netns, far, "["+ip6R+"]:4000")
	transfer(far, a.netns, "["+ip6A+"]:4000")
	segmented(a.netns, far, ipR+":4000")
	if kernel {
		segmented(far, a.netns, ipA+":4000")
	}
	// Cut up before they arrive, as a wire would have it: see is_indivisible.
	far.do("ip link set down0 gso_max_segs 1")
	segmented(far, a.netns, "["+ip6A+"]:4000")
	a.intact()
	far.intact()
	w.onlyDrops("own_probe", "not_ours")
}
