// SPDX-License-Identifier: Apache-2.0

package veth

import "testing"

// BenchmarkPair is what attaching a container costs in devices.
func BenchmarkPair(b *testing.B) {
	ns := newNS(b)
	for _, v := range []struct {
		name string
		xdp  bool
	}{{"tcx", false}, {"XDP", true}} {
		b.Run(v.name, func(b *testing.B) {
			c := example(ns)
			c.XDP = v.xdp
			for b.Loop() {
				if _, err := Create(c); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				if err := Delete(c.Name); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
	b.Run("delete", func(b *testing.B) {
		c := example(ns)
		for b.Loop() {
			b.StopTimer()
			if _, err := Create(c); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
			if err := Delete(c.Name); err != nil {
				b.Fatal(err)
			}
		}
	})
}
