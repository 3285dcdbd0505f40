// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"net/netip"
	"testing"
)

// BenchmarkAttach is an endpoint's coming and going: what is compared with a
// CNI plugin's ADD and DEL.
func BenchmarkAttach(b *testing.B) {
	s := newSite(b)
	c := s.start(b)
	addNetwork(b, c)
	path, _ := netns(b, "a")
	r := EndpointRecord{Name: "a", VNI: 100, NetNS: path, Addrs: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")}}
	b.Run("add", func(b *testing.B) {
		for b.Loop() {
			if _, err := c.AddEndpoint(b.Context(), r); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			if err := c.DeleteEndpoint(b.Context(), "a"); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
	})
	b.Run("delete", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			if _, err := c.AddEndpoint(b.Context(), r); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
			if err := c.DeleteEndpoint(b.Context(), "a"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("record", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			if _, err := c.SetNetwork(b.Context(), NetworkRecord{VNI: 7, MTU: 1400 + i%2}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
