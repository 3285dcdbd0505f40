// SPDX-License-Identifier: Apache-2.0

package net

import (
	"fmt"
	"testing"
)

// Two hosts, over IPv4 and over nothing but IPv6, with and without XDP.
func TestTwoHosts(t *testing.T) {
	for _, w := range some([]wire{{}, {control: true, v6: true}, {v6: true}, {xdp: true}, {v6: true, xdp: true}, {kernel: true}, {mtu: 9000},
		{control: true}, {control: true, xdp: true}, {control: true, v6: true, kernel: true}}) {
		t.Run(w.String(), func(t *testing.T) {
			f := newFabric(t, 2, w)
			a := f.hosts[0].container(place{vni: 100, n: 1})
			b := f.hosts[1].container(place{vni: 100, n: 2})
			n := few
			if w == (wire{}) {
				n = much()
			}
			f.exchange(a, b, n)
			f.intact()
			f.settled()
			f.drops()
		})
	}
}

// Containers on two hosts, in every mix of tc and XDP.
func TestMixedHosts(t *testing.T) {
	for _, mix := range mixes[1:] {
		for _, w := range some([]wire{{xdp: true}, {kernel: true}, {v6: true, xdp: true}}) {
			t.Run(fmt.Sprintf("%v over %v", mix, w), func(t *testing.T) {
				f := newFabric(t, 2, w)
				a := f.hosts[0].container(place{vni: 100, n: 1, xdp: mix.a})
				b := f.hosts[1].container(place{vni: 100, n: 2, xdp: mix.b})
				f.exchange(a, b, few)
				f.intact()
				f.settled()
				f.drops()
			})
		}
	}
}
