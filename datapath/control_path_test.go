// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"
)

// routerSays is what a router says, and quotes, of a frame that is too large.
func routerSays(from, to netip.Addr, port uint16, mtu int) []byte {
	quoted := make([]byte, 20)
	b := []byte{unreachable, fragNeeded, 0, 0, 0, 0, byte(mtu >> 8), byte(mtu)}
	if from.Is6() {
		quoted = make([]byte, 40)
		b = []byte{tooBig6, 0, 0, 0, 0, 0, byte(mtu >> 8), byte(mtu)}
		quoted[0], quoted[6] = 6<<4, 17
		copy(quoted[8:], append(from.AsSlice(), to.AsSlice()...))
	} else {
		quoted[0], quoted[9] = 4<<4|5, 17
		copy(quoted[12:], append(from.AsSlice(), to.AsSlice()...))
	}
	udp := binary.BigEndian.AppendUint16([]byte{0xc0, 0}, port)
	return append(append(b, quoted...), udp...)
}

func TestTooBig(t *testing.T) {
	for network, ips := range map[string][2]netip.Addr{"ip4:icmp": {ipA, ipB}, "ip6:ipv6-icmp": {netip.MustParseAddr("fd00::1"), netip.MustParseAddr("fd00::2")}} {
		b := routerSays(ips[0], ips[1], 4789, 1400)
		if to, from, port, mtu := tooBig(b, network); to != ips[1] || from != ips[0] || port != 4789 || mtu != 1400 {
			t.Errorf("%s: got %v, %v, %d, %d", network, to, from, port, mtu)
		}
		for n := range b {
			if _, _, _, mtu := tooBig(b[:n], network); mtu != 0 {
				t.Errorf("%s: %d bytes of it: got %d", network, n, mtu)
			}
		}
		b[0]++
		if _, _, _, mtu := tooBig(b, network); mtu != 0 {
			t.Errorf("%s: another type: got %d", network, mtu)
		}
	}
}

// Only what is about our own tunnels is believed, and nothing that would be
// less than any path has.
func TestNarrowPaths(t *testing.T) {
	c, _ := tunnelled(t)
	local := underlay(t, c).IPv4
	for name, m := range map[string]struct {
		peer, local netip.Addr
		port        uint16
		mtu         int
	}{
		"nobody's":     {ipA, local, 4789, 1300},
		"another's":    {vtepR, ipA, 4789, 1300},
		"another port": {vtepR, local, 53, 1300},
		"wide":         {vtepR, local, 4789, 1500},
		"no MTU":       {vtepR, local, 4789, 0},
	} {
		if c.learn(m.peer, m.local, m.port, m.mtu); len(c.paths) > 0 {
			t.Errorf("%s: believed", name)
		}
	}
	for _, mtu := range []int{1400, 68} {
		c.learn(vtepR, local, 4789, mtu)
		eventually(t, "the path is narrow", func() bool { return c.ListPeers()[0].PathMTU == max(mtu, leastPath4) })
	}
	c.mu.Lock()
	c.paths[vtepR] = narrow{leastPath4, time.Now()}
	c.todo.allPeers = true
	c.wake()
	c.mu.Unlock()
	eventually(t, "the path is what the route says", func() bool { return c.ListPeers()[0].PathMTU == 1500 })
}
