// SPDX-License-Identifier: Apache-2.0

package veth

import (
	"testing"

	"foundry/integration/env"
)

// How large a frame a container may send is said when it is made, and can be
// taken back when its way becomes narrower.
func TestGSO(t *testing.T) {
	env.RequireRoot(t)
	ns := newNS(t)
	c := example(ns)
	c.GSO = MostGSO
	mustCreate(t, c)
	sizes := func() (got int) {
		t.Helper()
		err := ns.Do(func() error {
			u, err := UplinkOf("eth0")
			got = u.GSO
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := sizes(); got != MostGSO {
		t.Errorf("made with %d: got %d", MostGSO, got)
	}
	for _, size := range []int{LeastGSO, 100_000} {
		if err := SetGSO(ns, "eth0", size); err != nil {
			t.Fatal(err)
		}
		if got := sizes(); got != size {
			t.Errorf("set to %d: got %d", size, got)
		}
	}
	if err := SetGSO(ns, "eth7", LeastGSO); err == nil {
		t.Error("of no device: no error")
	}
}
