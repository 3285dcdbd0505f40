// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"fmt"
	"net/netip"

	"foundry/bpf"
)

// draft is what a call asks for, checked as it is put together, before
// anything is written. A Set begins with nothing below it; an Update with what
// is in force, and writes its changes to the index down, to take them back.
type draft struct {
	*index
	layers
	whole bool
	undo  []func()

	ids   map[bpf.VtepKey]uint32 // numbers that VTEPs had before the call: entries of the FDB name them
	taken map[uint32]bool        // those numbers
	next  uint32                 // numbers below it are taken

	touched map[uint32]bool // networks whose receivers are others now
	hooks   map[hook]bool   // whether a program is wanted there
	gone    []int           // endpoints whose counters go
}

// layers are the maps, as the call sees them.
type layers struct {
	cfg       layer[uint32, bpf.Config]
	vni       layer[uint32, bpf.VniEntry]
	vtep      layer[uint32, bpf.VtepEntry]
	vtepByIP  layer[bpf.VtepKey, uint32]
	devs      layer[uint32, struct{}] // that XDP frames are sent to
	neigh     layer[bpf.NeighKey, bpf.NeighEntry]
	fdb       layer[bpf.FdbKey, bpf.FdbEntry]
	bum       layer[uint32, receiverList]
	endpoints layer[uint32, bpf.Endpoint]
}

// layer is a map as a call sees it: what it changes, and below that what is
// in force.
type layer[K, V comparable] struct {
	puts  map[K]V
	drops map[K]bool
	below func(K) (V, bool, error) // nil: nothing
	err   error                    // the first of below
}

func newLayer[K, V comparable](below func(K) (V, bool, error), size int) layer[K, V] {
	return layer[K, V]{puts: make(map[K]V, size), drops: map[K]bool{}, below: below}
}

func (l *layer[K, V]) get(k K) (v V, ok bool) {
	if v, ok := l.puts[k]; ok || l.drops[k] || l.below == nil {
		return v, ok
	}
	v, ok, err := l.below(k)
	if l.err == nil {
		l.err = err
	}
	return v, ok
}

func (l *layer[K, V]) set(k K, v V) {
	l.puts[k] = v
	delete(l.drops, k)
}

func (l *layer[K, V]) drop(k K) {
	delete(l.puts, k)
	l.drops[k] = true
}

// compile turns what is wanted into what the maps have to contain. ids are
// the VTEP ids in use: a VTEP keeps its own, so that entries of the FDB that
// name it stay true while both change.
func compile(s State, ids map[bpf.VtepKey]uint32) (*draft, error) {
	n := len(s.Remotes) + len(s.Endpoints)
	d := &draft{index: newIndex(len(s.Remotes)), whole: true, layers: layers{
		cfg: newLayer[uint32, bpf.Config](nil, 1), vni: newLayer[uint32, bpf.VniEntry](nil, len(s.Networks)),
		vtep: newLayer[uint32, bpf.VtepEntry](nil, len(s.Peers)), vtepByIP: newLayer[bpf.VtepKey, uint32](nil, len(s.Peers)),
		devs: newLayer[uint32, struct{}](nil, 0), neigh: newLayer[bpf.NeighKey, bpf.NeighEntry](nil, 2*n),
		fdb: newLayer[bpf.FdbKey, bpf.FdbEntry](nil, n), bum: newLayer[uint32, receiverList](nil, len(s.Networks)),
		endpoints: newLayer[uint32, bpf.Endpoint](nil, len(s.Endpoints)),
	}}
	d.begin()
	for key, id := range ids {
		d.ids[key], d.taken[id] = id, true
	}
	return d, d.finish(Delta{Put: s, HasUnderlay: true})
}

func (d *draft) begin() {
	d.touched, d.hooks = map[uint32]bool{}, map[hook]bool{}
	d.ids, d.taken, d.next = map[bpf.VtepKey]uint32{}, map[uint32]bool{}, 1 // 0 is no VTEP in a list of receivers
}

// finish takes what the delta names out, puts in what it has, and checks what
// is left.
func (d *draft) finish(delta Delta) error {
	d.dropAll(delta)
	if delta.HasUnderlay {
		if err := d.setUnderlay(delta.Put.Underlay); err != nil {
			return err
		}
	}
	if err := d.addAll(delta.Put); err != nil {
		return err
	}
	for _, vni := range delta.DeleteNetworks {
		if _, there := d.networks[vni]; !there && d.members(vni) != "" {
			return fmt.Errorf("delete network %d: %s", vni, d.members(vni))
		}
	}
	for _, ip := range delta.DeletePeers {
		if _, there := d.peers[ip]; !there && d.remotes[d.ids[vtepKey(ip)]] > 0 {
			return fmt.Errorf("delete peer %v: %d remotes are behind it", ip, d.remotes[d.ids[vtepKey(ip)]])
		}
	}
	return d.listReceivers()
}

// dropAll takes out what is deleted or replaced, all of it before anything
// comes in: two endpoints may exchange their addresses in one delta.
func (d *draft) dropAll(delta Delta) {
	if d.whole {
		return
	}
	for _, ifindex := range delta.DeleteEndpoints {
		d.dropEndpoint(ifindex)
	}
	for _, e := range delta.Put.Endpoints {
		d.dropEndpoint(e.Ifindex)
	}
	for _, key := range delta.DeleteRemotes {
		d.dropRemote(key)
	}
	for _, r := range delta.Put.Remotes {
		d.dropRemote(RemoteKey{r.VNI, r.MAC})
	}
	for _, ip := range delta.DeletePeers {
		d.dropPeer(ip)
	}
	for _, p := range delta.Put.Peers {
		d.dropPeer(p.IP)
	}
	for _, vni := range delta.DeleteNetworks {
		d.dropNetwork(vni)
	}
	for _, n := range delta.Put.Networks {
		d.dropNetwork(n.VNI)
	}
}

func (d *draft) addAll(s State) error {
	for _, n := range s.Networks {
		if err := d.addNetwork(n); err != nil {
			return fmt.Errorf("add network %d: %w", n.VNI, err)
		}
	}
	for _, p := range s.Peers {
		if err := d.addPeer(p); err != nil {
			return fmt.Errorf("add peer %v: %w", p.IP, err)
		}
	}
	for _, e := range s.Endpoints {
		if err := d.addEndpoint(e); err != nil {
			return fmt.Errorf("add endpoint %d: %w", e.Ifindex, err)
		}
	}
	for _, r := range s.Remotes {
		if err := d.addRemote(r); err != nil {
			return fmt.Errorf("add %v in network %d behind %v: %w", r.MAC, r.VNI, r.Peer, err)
		}
	}
	return nil
}

// listReceivers makes the lists of broadcasts anew of those networks in which
// somebody came or went.
func (d *draft) listReceivers() error {
	const most = 4096 // RECEIVERS_MAX
	for vni := range d.touched {
		list := d.receivers(vni)
		if len(list) > most {
			return fmt.Errorf("network %d: %d receivers of broadcasts, of at most %d: turn Broadcast off", vni, len(list), most)
		}
		if len(list) == 0 {
			d.bum.drop(vni)
		} else {
			d.bum.set(vni, packReceivers(list))
		}
	}
	return nil
}

// log notes how a change to the index is taken back.
func (d *draft) log(undo func()) {
	if !d.whole {
		d.undo = append(d.undo, undo)
	}
}

// takeBack makes the index what it was.
func (d *draft) takeBack() {
	for i := len(d.undo) - 1; i >= 0; i-- {
		d.undo[i]()
	}
	d.undo = nil
}

// assign and erase change a map of the index.
func assign[K comparable, V any](d *draft, m map[K]V, k K, v V) {
	old, had := m[k]
	m[k] = v
	d.log(func() { restore(m, k, old, had) })
}

func erase[K comparable, V any](d *draft, m map[K]V, k K) {
	old, had := m[k]
	delete(m, k)
	d.log(func() { restore(m, k, old, had) })
}

func restore[K comparable, V any](m map[K]V, k K, old V, had bool) {
	if had {
		m[k] = old
	} else {
		delete(m, k)
	}
}

// countBehind counts somebody who came into a network behind a VTEP, or went.
func (d *draft) countBehind(vni, vtep uint32, n int) {
	in := d.behind[vni]
	if in == nil {
		in = map[uint32]int{}
		d.behind[vni] = in
	}
	before := in[vtep]
	if in[vtep] += n; in[vtep] == 0 {
		delete(in, vtep)
	}
	if d.remotes[vtep] += n; d.remotes[vtep] == 0 {
		delete(d.remotes, vtep)
	}
	if (before == 0) != (before+n == 0) {
		d.touched[vni] = true
	}
	d.log(func() { d.uncount(vni, vtep, n) })
}

func (d *draft) uncount(vni, vtep uint32, n int) {
	if d.behind[vni][vtep] -= n; d.behind[vni][vtep] == 0 {
		delete(d.behind[vni], vtep)
	}
	if d.remotes[vtep] -= n; d.remotes[vtep] == 0 {
		delete(d.remotes, vtep)
	}
}

func (d *draft) join(vni uint32, ifindex int) {
	if d.local[vni] == nil {
		d.local[vni] = map[int]bool{}
	}
	assign(d, d.local[vni], ifindex, true)
	d.touched[vni] = true
}

func (d *draft) leave(vni uint32, ifindex int) {
	erase(d, d.local[vni], ifindex)
	d.touched[vni] = true
}

// vtepID is the number that a peer has, or had, or else one that nobody has:
// until its own entries are gone, a number that was free a moment ago would
// send the frames of one VTEP to another.
func (d *draft) vtepID(ip netip.Addr) uint32 {
	id, known := d.ids[vtepKey(ip)]
	for ; !known; d.next++ {
		_, used := d.vteps[d.next]
		id, known = d.next, !used && !d.taken[d.next]
	}
	return id
}
