// SPDX-License-Identifier: Apache-2.0

package net

import (
	"fmt"
	"net"
	"net/netip"
	"testing"

	"foundry/datapath"
)

// Two networks of the same addresses and the same MACs, on one host and on
// two: no frame of one is ever seen in the other.
func TestIsolation(t *testing.T) {
	for _, w := range some([]wire{{}, {control: true, xdp: true}, {xdp: true}}) {
		t.Run(w.String(), func(t *testing.T) {
			f := newFabric(t, 2, w)
			f.broadcast = datapath.Broadcast{On: true}
			nets := map[uint32][]*container{}
			for _, vni := range []uint32{100, 200} {
				for n, h := range []*host{f.hosts[0], f.hosts[0], f.hosts[1]} {
					nets[vni] = append(nets[vni], h.container(place{vni: vni, n: n + 1, xdp: w.xdp}))
				}
			}
			taps := map[uint32][]*tap{}
			for vni, list := range nets {
				for _, c := range list {
					taps[vni] = append(taps[vni], c.tap())
				}
			}
			for _, vni := range []uint32{100, 200} {
				speak(taps[vni][0], nets[vni], vni)
			}
			for vni, list := range taps {
				hear(f, list[1:], vni)
			}
			for _, list := range nets {
				f.exchange(list[0], list[2], few)
			}
			nobody(f, nets[100][0], nets[200][2])
			f.intact()
			f.settled()
			f.drops()
		})
	}
}

const said = 50

// speak sends marked frames from the first to the others and to all.
func speak(from *tap, list []*container, vni uint32) {
	from.f.Helper()
	for i := range said {
		mark := fmt.Sprintf("network %d, number %d.", vni, i)
		for _, to := range list[1:] {
			from.send(datagram(list[0], to, mark), datagram6(list[0], to, mark))
		}
		from.send(toAll(list[0], mark))
	}
	from.send(toAll(list[0], "the end"))
}

// hear wants each of the others to have got all that was for it, once, and
// nothing of another network.
func hear(f *fabric, taps []*tap, vni uint32) {
	f.Helper()
	for _, t := range taps {
		frames := t.until("the end")
		if got, want := carrying(frames, fmt.Sprintf("network %d,", vni)), 3*said; got != want {
			f.Errorf("%s: frames of its network: got %d, want %d", t.name, got, want)
		}
		if got := carrying(frames, "network "); got != 3*said {
			f.Errorf("%s: frames of all networks: got %d, want those of its own, %d", t.name, got, 3*said)
		}
	}
}

// nobody: a port that is open in the other network only is closed in this one.
func nobody(f *fabric, from, other *container) {
	f.Helper()
	l, err := in(other.ns, func() (net.Listener, error) { return net.Listen("tcp", netip.AddrPortFrom(other.ip4, 0).String()) })
	if err != nil {
		f.Fatal(err)
	}
	defer l.Close()
	c, err := in(from.ns, func() (net.Conn, error) { return net.DialTimeout("tcp", l.Addr().String(), patience) })
	if err == nil {
		c.Close()
		f.Errorf("%v reached %v", from, other)
	}
}
