// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"bytes"
	"cmp"
	"fmt"

	"github.com/cilium/ebpf"

	"foundry/bpf"
)

// schema is all maps that are made equal to a State, in the order in which
// they are written: what a frame needs last is written last, so that an
// endpoint is there when all that it can reach is.
type schema struct {
	cfg       *table[uint32, bpf.Config]
	vni       *table[uint32, bpf.VniEntry]
	vtep      *table[uint32, bpf.VtepEntry]
	vtepByIP  *table[bpf.VtepKey, uint32]
	devs      *table[uint32, struct{}]
	neigh     *table[bpf.NeighKey, bpf.NeighEntry]
	fdb       *table[bpf.FdbKey, bpf.FdbEntry]
	bum       *table[uint32, receiverList]
	endpoints *table[uint32, bpf.Endpoint]
}

func newSchema(maps map[string]*ebpf.Map) schema {
	return schema{
		cfg:      newTable("cfg", maps, cmp.Compare[uint32], plain[uint32, bpf.Config]{maps["cfg"]}),
		vni:      newTable("vni", maps, cmp.Compare[uint32], plain[uint32, bpf.VniEntry]{maps["vni"]}),
		vtep:     newTable("vtep", maps, cmp.Compare[uint32], plain[uint32, bpf.VtepEntry]{maps["vtep"]}),
		vtepByIP: newTable("vtep_by_ip", maps, orderVteps, plain[bpf.VtepKey, uint32]{maps["vtep_by_ip"]}),
		devs:     newTable("devs", maps, cmp.Compare[uint32], devices{maps["devs"]}),
		neigh:    newTable("neigh", maps, orderNeighbours, plain[bpf.NeighKey, bpf.NeighEntry]{maps["neigh"]}),
		fdb:      newTable("fdb", maps, orderFDB, plain[bpf.FdbKey, bpf.FdbEntry]{maps["fdb"]}),
		bum:      newTable("bum", maps, cmp.Compare[uint32], lists{maps["bum"]}),
		endpoints: newTable("ep_by_ifindex", maps, cmp.Compare[uint32],
			plain[uint32, bpf.Endpoint]{maps["ep_by_ifindex"]}),
	}
}

func newTable[K, V comparable](name string, maps map[string]*ebpf.Map, order func(a, b K) int, r rows[K, V]) *table[K, V] {
	t := &table[K, V]{name: name, size: int(maps[name].MaxEntries()), order: order, rows: r, remedy: "there is no more on one host"}
	if name == "fdb" || name == "neigh" {
		t.remedy = "raise Config.MaxFDB"
	}
	return t
}

// compare makes the steps from what is in the maps to what a draft wants.
func (s schema) compare(d *draft) *comparison {
	c := &comparison{}
	against(c, s.cfg, &d.layers.cfg, d.whole)
	against(c, s.vni, &d.layers.vni, d.whole)
	against(c, s.vtep, &d.layers.vtep, d.whole)
	against(c, s.vtepByIP, &d.layers.vtepByIP, d.whole)
	against(c, s.devs, &d.layers.devs, d.whole)
	against(c, s.neigh, &d.layers.neigh, d.whole)
	against(c, s.fdb, &d.layers.fdb, d.whole)
	against(c, s.bum, &d.layers.bum, d.whole)
	against(c, s.endpoints, &d.layers.endpoints, d.whole)
	return c
}

// over makes a draft of a change to what is in force.
func (s schema) over(x *index) *draft {
	d := &draft{index: x, layers: layers{
		cfg: newLayer(s.cfg.rows.get, 0), vni: newLayer(s.vni.rows.get, 0), vtep: newLayer(s.vtep.rows.get, 0),
		vtepByIP: newLayer(s.vtepByIP.rows.get, 0), devs: newLayer(s.devs.rows.get, 0), neigh: newLayer(s.neigh.rows.get, 0),
		fdb: newLayer(s.fdb.rows.get, 0), bum: newLayer(s.bum.rows.get, 0), endpoints: newLayer(s.endpoints.rows.get, 0),
	}}
	d.begin()
	return d
}

func orderFDB(a, b bpf.FdbKey) int {
	return cmp.Or(cmp.Compare(a.Vni, b.Vni), bytes.Compare(a.Mac.B[:], b.Mac.B[:]))
}

func orderNeighbours(a, b bpf.NeighKey) int {
	return cmp.Or(cmp.Compare(a.Vni, b.Vni), a.Ip.Netip(a.Family).Compare(b.Ip.Netip(b.Family)))
}

func orderVteps(a, b bpf.VtepKey) int {
	return a.Ip.Netip(a.Family).Compare(b.Ip.Netip(b.Family))
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
