// SPDX-License-Identifier: Apache-2.0

package net

import "testing"

// Two hosts, over IPv4 and over nothing but IPv6, with and without XDP.
func TestTwoHosts(t *testing.T) {
	for _, c := range []struct {
		name string
		wire wire
	}{
		{"over IPv4", wire{}},
		{"over IPv6", wire{v6: true}},
		{"over IPv4 with XDP on uplinks", wire{xdp: true}},
		{"over IPv6 with XDP on uplinks", wire{v6: true, xdp: true}},
		{"jumbo frames", wire{mtu: 9000}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFabric(t, 2, c.wire)
			a := f.hosts[0].container(place{vni: 100, n: 1})
			b := f.hosts[1].container(place{vni: 100, n: 2})
			n := few
			if c.wire == (wire{}) {
				n = much()
			}
			f.exchange(a, b, n)
			f.intact()
			f.drops()
		})
	}
}

// Containers on two hosts, in every mix of tc and XDP.
func TestMixedHosts(t *testing.T) {
	for _, mix := range mixes[1:] {
		for _, v6 := range []bool{false, true} {
			t.Run(mix.String()+map[bool]string{false: " over IPv4", true: " over IPv6"}[v6], func(t *testing.T) {
				f := newFabric(t, 2, wire{v6: v6, xdp: true})
				a := f.hosts[0].container(place{vni: 100, n: 1, xdp: mix.a})
				b := f.hosts[1].container(place{vni: 100, n: 2, xdp: mix.b})
				f.exchange(a, b, few)
				f.intact()
				f.drops()
			})
		}
	}
}
