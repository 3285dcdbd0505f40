// SPDX-License-Identifier: Apache-2.0

package net

import (
	"fmt"
	"testing"
)

// Two containers of one network on one host, in every mix of tc and XDP.
func TestOneHost(t *testing.T) {
	for _, mix := range mixes {
		t.Run(mix.String(), func(t *testing.T) {
			f := newFabric(t, 1, wire{})
			h := f.hosts[0]
			a := h.container(place{vni: 100, n: 1, xdp: mix.a})
			b := h.container(place{vni: 100, n: 2, xdp: mix.b})
			n := few
			if mix == (mixture{}) {
				n = much()
			}
			f.exchange(a, b, n)
			f.intact()
			f.drops()
		})
	}
}

// mixture says which of two containers is reached by XDP.
type mixture struct{ a, b bool }

var mixes = []mixture{{false, false}, {false, true}, {true, false}, {true, true}}

func (m mixture) String() string {
	name := map[bool]string{false: "tc", true: "XDP"}
	return fmt.Sprintf("%s to %s", name[m.a], name[m.b])
}

// exchange is all that two containers may say to each other, both ways, by
// both families; once n bytes.
func (f *fabric) exchange(a, b *container, n int) {
	f.Helper()
	a.pings(b)
	b.pings(a)
	a.streams(b, b.ip4, n)
	b.streams(a, a.ip4, few)
	a.streams(b, b.ip6, few)
	b.streams(a, a.ip6, few)
	f.cut(true)
	for _, ip := range b.addrs() {
		a.segments(b, ip)
	}
	for _, ip := range a.addrs() {
		b.segments(a, ip)
	}
	f.cut(false)
}
