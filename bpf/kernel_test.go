// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"net"
	"testing"
)

// tunnelled is uplink with VTEP 7 behind a VXLAN device of this kernel, which
// writes and reads the outer headers.
func (w *world) tunnelled(t *testing.T, local, remote string) {
	t.Helper()
	here(t, "ip link add fdvx0 type vxlan external dstport 4789 nolearning udp6zerocsumrx", "ip link set fdvx0 mtu 65485 up")
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
