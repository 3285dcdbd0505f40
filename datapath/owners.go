// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"errors"
	"fmt"
	"math"
	"net/netip"

	"foundry/bpf"
)

const mostVNI = 1<<24 - 1

var (
	errVNI    = fmt.Errorf("a VNI is a number from 0 to %d", mostVNI)
	errMTU    = fmt.Errorf("an MTU is a number from 0 to %d", math.MaxUint16)
	errMAC    = errors.New("a MAC of nobody, or of a group")
	errAddr   = errors.New("not an address")
	errPeer   = errors.New("no such peer")
	errVNINot = errors.New("no such network")
)

func (d *draft) addNetwork(n Network) error {
	if n.VNI > mostVNI {
		return errVNI
	}
	if _, taken := d.networks[n.VNI]; taken {
		return ErrConflict
	}
	assign(d, d.networks, n.VNI, n)
	d.vni.set(n.VNI, vni(n))
	d.touched[n.VNI] = true
	return nil
}

func (d *draft) dropNetwork(vni uint32) {
	if _, there := d.networks[vni]; there {
		erase(d, d.networks, vni)
		d.vni.drop(vni)
		d.touched[vni] = true
	}
}

func (d *draft) addPeer(p Peer) error {
	if _, taken := d.peers[p.IP]; taken {
		return ErrConflict
	}
	entry, err := vtep(d.underlay, p)
	if err != nil {
		return err
	}
	id := d.vtepID(p.IP)
	assign(d, d.peers, p.IP, peer{p, id})
	assign(d, d.vteps, id, p.IP)
	d.vtepByIP.set(vtepKey(p.IP), id)
	d.vtep.set(id, entry)
	return nil
}

func (d *draft) dropPeer(ip netip.Addr) {
	if p, there := d.peers[ip]; there {
		erase(d, d.peers, ip)
		erase(d, d.vteps, p.id)
		d.ids[vtepKey(ip)], d.taken[p.id] = p.id, true
		d.vtepByIP.drop(vtepKey(ip))
		d.vtep.drop(p.id)
	}
}

// setUnderlay makes the headers of all VTEPs anew: they are of this host.
func (d *draft) setUnderlay(u Underlay) error {
	if err := u.check(); err != nil {
		return err
	}
	old := d.underlay
	for _, h := range old.hooks() {
		d.hooks[h] = false
	}
	if old.XDP {
		d.devs.drop(uint32(old.Ifindex))
	}
	for _, h := range u.hooks() {
		d.hooks[h] = true
	}
	if u.XDP {
		d.devs.set(uint32(u.Ifindex), struct{}{})
	}
	d.underlay = u
	d.log(func() { d.underlay = old })
	d.cfg.set(0, config(u))
	for _, p := range d.peers {
		entry, err := vtep(u, p.Peer)
		if err != nil {
			return fmt.Errorf("set underlay: peer %v: %w", p.IP, err)
		}
		d.vtep.set(p.id, entry)
	}
	return nil
}

func (d *draft) addEndpoint(e Endpoint) error {
	port := uint32(e.Ifindex)
	if _, taken := d.index.endpoints[e.Ifindex]; taken || e.Ifindex <= 0 {
		return fmt.Errorf("device %d: %w", e.Ifindex, ErrConflict)
	}
	if e.Ifindex == d.underlay.Ifindex {
		return fmt.Errorf("device %d: %w: it is the uplink", e.Ifindex, ErrConflict)
	}
	if e.MTU < 0 || e.MTU > math.MaxUint16 {
		return errMTU
	}
	entry, forward := local(e)
	if err := d.own(owner{e.VNI, e.MAC, e.Ifindex}, forward, e.Addrs); err != nil {
		return err
	}
	d.layers.endpoints.set(port, entry)
	for _, h := range e.hooks() {
		d.hooks[h] = true
	}
	if e.XDP {
		d.devs.set(port, struct{}{})
	}
	assign(d, d.index.endpoints, e.Ifindex, e)
	d.join(e.VNI, e.Ifindex)
	return nil
}

func (d *draft) dropEndpoint(ifindex int) {
	e, there := d.index.endpoints[ifindex]
	if !there {
		return
	}
	erase(d, d.index.endpoints, ifindex)
	d.leave(e.VNI, ifindex)
	for _, h := range e.hooks() {
		d.hooks[h] = false
	}
	if e.XDP {
		d.devs.drop(uint32(ifindex))
	}
	d.layers.endpoints.drop(uint32(ifindex))
	d.disown(fdbKey(e.VNI, e.MAC), e.Addrs)
	d.gone = append(d.gone, ifindex)
}

func (d *draft) addRemote(r Remote) error {
	p, known := d.peers[r.Peer]
	if !known {
		return errPeer
	}
	err := d.own(owner{r.VNI, r.MAC, 0}, bpf.FdbEntry{Type: bpf.TCFdbTypeFDB_REMOTE, Target: p.id}, r.Addrs)
	if err != nil {
		return err
	}
	key := fdbKey(r.VNI, r.MAC)
	d.addrs.set(key, r.Addrs)
	d.log(func() { d.addrs.set(key, nil) })
	d.countBehind(r.VNI, p.id, 1)
	return nil
}

func (d *draft) dropRemote(k RemoteKey) {
	key := fdbKey(k.VNI, k.MAC)
	entry, there := d.fdb.get(key)
	if !there || entry.Type != bpf.TCFdbTypeFDB_REMOTE {
		return
	}
	addrs := d.addrs.of(key)
	d.addrs.set(key, nil)
	d.log(func() { d.addrs.set(key, addrs) })
	d.disown(key, addrs)
	d.countBehind(k.VNI, entry.Target, -1)
}

// owner is who has a MAC and addresses.
type owner struct {
	vni     uint32
	mac     MAC
	ifindex int // 0: a remote
}

func (o owner) String() string {
	if o.ifindex > 0 {
		return fmt.Sprintf("endpoint %d", o.ifindex)
	}
	return o.mac.String()
}

// own adds a MAC and its addresses: forwarding and neighbours come from one
// place, so that neither is there without the other.
func (d *draft) own(o owner, e bpf.FdbEntry, addrs []netip.Addr) error {
	if _, known := d.networks[o.vni]; !known {
		return errVNINot
	}
	if o.mac == (MAC{}) || o.mac[0]&1 != 0 {
		return fmt.Errorf("MAC %v: %w", o.mac, errMAC)
	}
	key := fdbKey(o.vni, o.mac)
	if _, taken := d.fdb.get(key); taken {
		return fmt.Errorf("MAC %v in network %d: %w: %s and %s", o.mac, o.vni, ErrConflict, d.nameOf(key), o)
	}
	for _, ip := range addrs {
		if !ip.IsValid() || ip.IsMulticast() || ip.IsUnspecified() {
			return fmt.Errorf("%v: %w", ip, errAddr)
		}
		if err := d.ownAddress(o, ip); err != nil {
			return err
		}
	}
	d.fdb.set(key, e)
	return d.ownAddress(o, linkLocal(o.mac))
}

func (d *draft) ownAddress(o owner, ip netip.Addr) error {
	key := neighKey(o.vni, ip)
	if old, taken := d.neigh.get(key); taken && old.Mac.B != o.mac {
		other := d.nameOf(fdbKey(o.vni, old.Mac.B))
		return fmt.Errorf("address %v in network %d: %w: %s and %s", ip, o.vni, ErrConflict, other, o)
	}
	d.neigh.set(key, bpf.NeighEntry{Mac: bpf.Mac{B: o.mac}})
	return nil
}

func (d *draft) disown(key bpf.FdbKey, addrs []netip.Addr) {
	d.fdb.drop(key)
	d.neigh.drop(neighKey(key.Vni, linkLocal(key.Mac.B)))
	for _, ip := range addrs {
		d.neigh.drop(neighKey(key.Vni, ip))
	}
}

// nameOf says who has a MAC.
func (d *draft) nameOf(key bpf.FdbKey) string {
	e, _ := d.fdb.get(key)
	if e.Type == bpf.TCFdbTypeFDB_LOCAL {
		return fmt.Sprintf("endpoint %d", e.Target)
	}
	if ip, known := d.vteps[e.Target]; known {
		return fmt.Sprintf("%v behind %v", MAC(key.Mac.B), ip)
	}
	return MAC(key.Mac.B).String()
}
