// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// records are what is to be, as it was asked for, with what was filled in.
type records struct {
	underlay  *UnderlayRecord
	networks  map[uint32]NetworkRecord
	endpoints map[string]EndpointRecord
	peers     map[netip.Addr]PeerRecord
	remotes   remotes

	macs   map[RemoteKey]string // MACs of endpoints, those being made too -> name
	addrs  map[addrKey]MAC      // addresses of endpoints and remotes -> theirs
	byPort map[int]string       // host's ends -> name of the endpoint
}

// addrKey is an address in a network.
type addrKey struct {
	vni uint32
	ip  [16]byte
}

func newRecords() records {
	return records{networks: map[uint32]NetworkRecord{}, endpoints: map[string]EndpointRecord{}, peers: map[netip.Addr]PeerRecord{},
		remotes: newRemotes(), macs: map[RemoteKey]string{}, addrs: map[addrKey]MAC{}, byPort: map[int]string{}}
}

// claim notes whose a MAC and its addresses are.
func (h *records) claim(vni uint32, mac MAC, addrs []netip.Addr) {
	for _, ip := range addrs {
		h.addrs[addrKey{vni, ip.As16()}] = mac
	}
}

func (h *records) disclaim(vni uint32, addrs []netip.Addr) {
	for _, ip := range addrs {
		delete(h.addrs, addrKey{vni, ip.As16()})
	}
}

func (h *records) claimEndpoint(r EndpointRecord) {
	h.macs[RemoteKey{r.VNI, r.MAC}] = r.Name
	h.claim(r.VNI, r.MAC, r.ips())
}

func (h *records) disclaimEndpoint(r EndpointRecord) {
	delete(h.macs, RemoteKey{r.VNI, r.MAC})
	h.disclaim(r.VNI, r.ips())
}

// put takes a record in, whatever was there under its name.
func (h *records) put(record any) {
	switch r := record.(type) {
	case UnderlayRecord:
		h.underlay = &r
	case NetworkRecord:
		h.networks[r.VNI] = r
	case PeerRecord:
		h.peers[r.IP] = r
	case RemoteRecord:
		old, _ := h.remotes.get(r.key())
		h.disclaim(r.VNI, old.Addrs)
		h.remotes.put(r)
		h.claim(r.VNI, r.MAC, r.Addrs)
	case EndpointRecord:
		if old, there := h.endpoints[r.Name]; there {
			h.leave(old)
			h.disclaimEndpoint(old)
		}
		h.endpoints[r.Name] = r
		h.claimEndpoint(r)
		if r.Broken == "" {
			h.byPort[r.Ifindex] = r.Name
		}
	}
}

// drop forgets a record.
func (h *records) drop(record any) {
	switch r := record.(type) {
	case UnderlayRecord:
		h.underlay = nil
	case NetworkRecord:
		delete(h.networks, r.VNI)
	case PeerRecord:
		delete(h.peers, r.IP)
	case RemoteRecord:
		h.disclaim(r.VNI, r.Addrs)
		h.remotes.drop(r.key())
	case EndpointRecord:
		h.disclaimEndpoint(r)
		h.leave(r)
		delete(h.endpoints, r.Name)
	}
}

// leave: a number may be another device's by the time that this one's is
// forgotten.
func (h *records) leave(r EndpointRecord) {
	if h.byPort[r.Ifindex] == r.Name {
		delete(h.byPort, r.Ifindex)
	}
}

// without is how an endpoint is taken out of the maps, if it is in them.
func (h *records) without(r EndpointRecord) (d Delta) {
	if h.byPort[r.Ifindex] == r.Name {
		d.DeleteEndpoints = []int{r.Ifindex}
	}
	return d
}

// owner says who has a MAC or one of addrs in a network, and which.
func (h *records) owner(vni uint32, mac MAC, addrs []netip.Addr) (what, who string) {
	if who := h.named(RemoteKey{vni, mac}); who != "" {
		return fmt.Sprintf("MAC %v in network %d", mac, vni), who
	}
	return h.addrOwner(vni, mac, addrs)
}

// addrOwner says which of addrs another than mac has, and who.
func (h *records) addrOwner(vni uint32, mac MAC, addrs []netip.Addr) (what, who string) {
	for _, ip := range addrs {
		if other, taken := h.addrs[addrKey{vni, ip.As16()}]; taken && other != mac {
			return fmt.Sprintf("address %v in network %d", ip, vni), h.named(RemoteKey{vni, other})
		}
	}
	return "", ""
}

// named is how a MAC's owner is called in errors.
func (h *records) named(k RemoteKey) string {
	if name, ok := h.macs[k]; ok {
		return "endpoint " + name
	}
	if r, ok := h.remotes.get(k); ok {
		return fmt.Sprintf("remote %s behind peer %v", r.Title(), r.Peer)
	}
	return ""
}

// ips are the addresses without the lengths of their networks.
func (r EndpointRecord) ips() []netip.Addr {
	list := make([]netip.Addr, len(r.Addrs))
	for i, p := range r.Addrs {
		list[i] = p.Addr()
	}
	return list
}

// hasPair is the endpoint that a host's end is of, be it broken or not.
func (h *records) hasPair(port int) (name string, ok bool) {
	for _, e := range h.endpoints {
		if e.Ifindex == port && port > 0 {
			return e.Name, true
		}
	}
	return "", false
}

// state is what maps and links are to be. Endpoints for which skip is true are
// left out.
func (h *records) state(skip func(name string) bool) (s State) {
	if h.underlay != nil {
		s.Underlay = h.underlay.state()
	}
	for _, n := range h.networks {
		s.Networks = append(s.Networks, n.state())
	}
	for _, e := range h.endpoints {
		if !skip(e.Name) {
			s.Endpoints = append(s.Endpoints, e.state())
		}
	}
	for _, p := range h.peers {
		s.Peers = append(s.Peers, h.peer(p))
	}
	s.Remotes = make([]Remote, 0, len(h.remotes.packed))
	for k := range h.remotes.packed {
		r, _ := h.remotes.get(k)
		s.Remotes = append(s.Remotes, Remote(r))
	}
	return s
}

func (n NetworkRecord) state() Network { return Network{VNI: n.VNI, Broadcast: n.Broadcast} }

func (u UnderlayRecord) state() Underlay {
	return Underlay{Ifindex: u.Ifindex, IPv4: u.IPv4, IPv6: u.IPv6, Port: u.Port, XDP: u.Native, Encap: u.Using, Tunnel: u.Tunnel}
}

func (r EndpointRecord) state() Endpoint {
	return Endpoint{Ifindex: r.Ifindex, VNI: r.VNI, MAC: r.MAC, Addrs: r.ips(), MTU: r.MTU, XDP: r.Mode == ModeXDP, Trusted: r.Trusted}
}

// peer is what the maps have of a peer. While the uplink is gone they are all down.
func (h *records) peer(p PeerRecord) Peer {
	u := h.underlay
	if u == nil {
		return Peer{IP: p.IP, Down: true}
	}
	return Peer{IP: p.IP, NextHop: p.NextHop, Local: u.MAC, MTU: cmp.Or(p.MTU, p.PathMTU, u.MTU), Down: p.Down || u.Ifindex == 0,
		Stale: p.Stale}
}

// Snapshot returns all records as they are at one revision, to Watch from there.
func (c *Control) Snapshot() Snapshot {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := Snapshot{Revision: c.revision, Networks: c.networksLocked(), Endpoints: c.endpointsLocked(), Peers: c.peersLocked(), Remotes: c.have.remotes.list()}
	if u := c.have.underlay; u != nil {
		copied := *u
		s.Underlay = &copied
	}
	return s
}

// ListNetworks returns the networks, by number.
func (c *Control) ListNetworks() []NetworkRecord {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.networksLocked()
}

// ListEndpoints returns the endpoints, by name.
func (c *Control) ListEndpoints() []EndpointRecord {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.endpointsLocked()
}

// ListPeers returns the peers, by address.
func (c *Control) ListPeers() []PeerRecord {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.peersLocked()
}

// ListRemotes returns the remotes, by network and MAC.
func (c *Control) ListRemotes() []RemoteRecord {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.have.remotes.list()
}

// Underlay returns the underlay; ok is false when there is none.
func (c *Control) Underlay() (u UnderlayRecord, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.have.underlay == nil {
		return u, false
	}
	return *c.have.underlay, true
}

func (c *Control) networksLocked() []NetworkRecord {
	return slices.SortedFunc(maps.Values(c.have.networks), func(a, b NetworkRecord) int { return cmp.Compare(a.VNI, b.VNI) })
}

func (c *Control) endpointsLocked() []EndpointRecord {
	return slices.SortedFunc(maps.Values(c.have.endpoints), func(a, b EndpointRecord) int { return strings.Compare(a.Name, b.Name) })
}

func (c *Control) peersLocked() []PeerRecord {
	return slices.SortedFunc(maps.Values(c.have.peers), func(a, b PeerRecord) int { return a.IP.Compare(b.IP) })
}
