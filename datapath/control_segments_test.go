// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"testing"

	"foundry/datapath/veth"
)

// gsoOf reads how large a frame of many segments a container may send.
func gsoOf(t *testing.T, path string) (size int) {
	t.Helper()
	ns, err := veth.OpenNS(path)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	err = ns.Do(func() error {
		u, err := veth.UplinkOf("eth0")
		size = u.GSO
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return size
}

// What is larger than the uplink takes would be cut up in software: containers
// send so large frames while none leave the host, or when the uplink was
// widened.
func TestSegmentsFollowTheUplink(t *testing.T) {
	s := newSite(t)
	c := s.start(t)
	addNetwork(t, c)
	r := endpoint(t, "a", "10.0.0.1/24")
	add(t, c, r)
	if got := gsoOf(t, r.NetNS); got != veth.MostGSO {
		t.Errorf("without uplink: got %d, want %d", got, veth.MostGSO)
	}
	uplink(t)
	if _, err := c.SetUnderlay(t.Context(), UnderlayRecord{Ifname: "up0", Encap: EncapBPF}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the endpoint follows an uplink of 64 KiB", func() bool { return gsoOf(t, r.NetNS) == veth.LeastGSO })
	late := endpoint(t, "late", "10.0.0.2/24")
	add(t, c, late)
	if got := gsoOf(t, late.NetNS); got != veth.LeastGSO {
		t.Errorf("added with an uplink: got %d, want %d", got, veth.LeastGSO)
	}
	here, err := veth.OpenNS("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	if err := veth.SetGSO(here, "up0", 128<<10); err != nil {
		t.Fatal(err)
	}
	eventually(t, "endpoints follow an uplink that was widened", func() bool {
		return gsoOf(t, r.NetNS) == 128<<10 && gsoOf(t, late.NetNS) == 128<<10
	})
	if err := c.DeleteUnderlay(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "nothing leaves the host any more", func() bool { return gsoOf(t, r.NetNS) == veth.MostGSO })
}
