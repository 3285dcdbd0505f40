// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"

	"foundry/bpf"
)

// step is a change and how it is made.
type step struct {
	Change
	do func() error
}

// stepsLocked compares s with maps and links. What is added comes in the
// order in which a frame needs it last: an endpoint is there when all that it
// can reach is. What is removed goes the other way round.
func (d *Datapath) stepsLocked(s State) ([]step, error) {
	ids, err := contents[bpf.VtepKey, uint32](d.tc.Maps["vtep_by_ip"])
	if err != nil {
		return nil, err
	}
	t, err := compile(s, ids)
	if err != nil {
		return nil, err
	}
	c := &comparison{maps: d.tc.Maps}
	compare(c, "cfg", map[uint32]bpf.Config{0: t.config})
	compare(c, "vni", t.vnis)
	compare(c, "vtep", t.vteps)
	compare(c, "vtep_by_ip", t.vtepByIP)
	c.devices(t.devs)
	compare(c, "neigh", t.neigh)
	compare(c, "fdb", t.fdb)
	c.lists(t.receivers)
	compare(c, "ep_by_ifindex", t.endpoints)
	attach, detach, err := d.linkSteps(s)
	forget, forgetErr := d.forget(t.endpoints)
	slices.Reverse(c.deletes)
	return slices.Concat(c.puts, attach, c.deletes, detach, forget), errors.Join(c.err, err, forgetErr)
}

// comparison collects the steps of all maps, and the first error.
type comparison struct {
	maps          map[string]*ebpf.Map
	puts, deletes []step
	err           error
}

// contents reads a map.
func contents[K, V comparable](m *ebpf.Map) (map[K]V, error) {
	var k K
	var v V
	have := map[K]V{}
	it := m.Iterate()
	for it.Next(&k, &v) {
		have[k] = v
	}
	if err := it.Err(); err != nil {
		return nil, fmt.Errorf("read %v: %w", m, err)
	}
	return have, nil
}

func compare[K, V comparable](c *comparison, name string, want map[K]V) {
	m := c.maps[name]
	have, err := contents[K, V](m)
	c.err = errors.Join(c.err, err)
	add(c, name, have, want, func(k K) error {
		v := want[k]
		return m.Put(&k, &v)
	})
}

// add adds the steps from have to want.
func add[K, V comparable](c *comparison, name string, have, want map[K]V, put func(K) error) {
	puts, deletes := difference(have, want)
	for _, k := range puts {
		c.puts = append(c.puts, step{Change{"put", name, text(k)}, func() error { return put(k) }})
	}
	for _, k := range deletes {
		c.deletes = append(c.deletes, step{Change{"delete", name, text(k)}, func() error { return remove(c.maps[name], &k) }})
	}
}

// remove: absent is success.
func remove(m *ebpf.Map, key any) error {
	if err := m.Delete(key); !errors.Is(err, ebpf.ErrKeyNotExist) {
		return err
	}
	return nil
}

// devices: of a device map only the keys count; the kernel answers with
// numbers of this namespace.
func (c *comparison) devices(want map[uint32]struct{}) {
	m := c.maps["devs"]
	values, err := contents[uint32, bpf.TCBpfDevmapVal](m)
	c.err = errors.Join(c.err, err)
	have := map[uint32]struct{}{}
	for k := range values {
		have[k] = struct{}{}
	}
	add(c, "devs", have, want, func(k uint32) error { return m.Put(k, &bpf.TCBpfDevmapVal{Ifindex: k}) })
}

// lists: who gets broadcasts is a map of its own for each network, exchanged
// as a whole.
func (c *comparison) lists(want map[uint32][]bpf.Receiver) {
	m := c.maps["bum"]
	ids, err := contents[uint32, uint32](m)
	c.err = errors.Join(c.err, err)
	have, wanted := map[uint32]string{}, map[uint32]string{}
	for vni, id := range ids {
		list, err := readList(ebpf.MapID(id))
		c.err = errors.Join(c.err, err)
		have[vni] = fmt.Sprint(list)
	}
	for vni, list := range want {
		wanted[vni] = fmt.Sprint(list)
	}
	add(c, "bum", have, wanted, func(vni uint32) error { return putList(m, vni, want[vni]) })
}

func readList(id ebpf.MapID) ([]bpf.Receiver, error) {
	inner, err := ebpf.NewMapFromID(id)
	if err != nil {
		return nil, fmt.Errorf("read list of receivers: %w", err)
	}
	defer inner.Close()
	list := make([]bpf.Receiver, inner.MaxEntries())
	for i := range list {
		if err := inner.Lookup(uint32(i), &list[i]); err != nil {
			return nil, fmt.Errorf("read list of receivers: %w", err)
		}
	}
	return list, nil
}

func putList(outer *ebpf.Map, vni uint32, list []bpf.Receiver) error {
	inner, err := bpf.NewReceivers(list)
	if err != nil {
		return err
	}
	defer inner.Close()
	return outer.Put(vni, uint32(inner.FD()))
}

// text is how a key reads in a Change.
func text(key any) string {
	switch k := key.(type) {
	case bpf.FdbKey:
		return fmt.Sprintf("%d %v", k.Vni, MAC(k.Mac.B))
	case bpf.NeighKey:
		return fmt.Sprintf("%d %v", k.Vni, k.Ip.Netip(k.Family))
	case bpf.VtepKey:
		return k.Ip.Netip(k.Family).String()
	}
	return fmt.Sprint(key)
}
