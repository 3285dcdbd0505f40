// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// AddNetwork adds a network. The same once more is a success; other settings
// are ErrConflict: SetNetwork changes them.
func (c *Control) AddNetwork(_ context.Context, r NetworkRecord) (NetworkRecord, error) {
	return c.putNetwork("add", r)
}

// SetNetwork adds a network or changes its settings. Its MTU is of endpoints
// that come later.
func (c *Control) SetNetwork(_ context.Context, r NetworkRecord) (NetworkRecord, error) {
	return c.putNetwork("set", r)
}

func (c *Control) putNetwork(verb string, r NetworkRecord) (NetworkRecord, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.putNetworkLocked(verb, r); err != nil {
		return NetworkRecord{}, objectError(verb, KindNetwork, r.Title(), err)
	}
	return r, nil
}

func (c *Control) putNetworkLocked(verb string, r NetworkRecord) error {
	if err := r.check(&c.have); err != nil {
		return err
	}
	old, known := c.have.networks[r.VNI]
	if old == r && known {
		return nil
	}
	undo := Delta{DeleteNetworks: []uint32{r.VNI}}
	if known {
		if verb == "add" {
			return &ObjectError{Err: fmt.Errorf("%w: it has broadcast %+v, MTU %d", ErrConflict, old.Broadcast, old.MTU),
				Owner: "network " + old.Title(), Remedy: "set it, or delete it first"}
		}
		undo = Delta{Put: State{Networks: []Network{old.state()}}}
	}
	return c.changeLocked(Delta{Put: State{Networks: []Network{r.state()}}}, undo, edit{record: r})
}

// DeleteNetwork deletes a network that nobody is in. Absent is success.
func (c *Control) DeleteNetwork(_ context.Context, vni uint32) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	r, known := c.have.networks[vni]
	if !known {
		return nil
	}
	err := c.have.vacant(vni)
	if err == nil {
		err = c.changeLocked(Delta{DeleteNetworks: []uint32{vni}}, Delta{Put: State{Networks: []Network{r.state()}}}, edit{record: r, deleted: true})
	}
	if err != nil {
		return objectError("delete", KindNetwork, r.Title(), err)
	}
	return nil
}

// vacant: nobody is in a network, and nobody is on the way into it.
func (h *records) vacant(vni uint32) error {
	for k := range h.macs {
		if k.VNI == vni {
			return &ObjectError{Err: ErrInUse, Owner: h.named(k), Remedy: "delete its endpoints first"}
		}
	}
	if h.remotes.in[vni] == 0 {
		return nil
	}
	r := h.remotes.find(func(r RemoteRecord) bool { return r.VNI == vni })
	return &ObjectError{Err: ErrInUse, Owner: h.named(r.key()), Remedy: "delete its remotes first"}
}

// AddRemotes adds entries of the FDB, all of them or none. What is there
// already stays; an entry that is there behind another peer or with other
// addresses is ErrConflict: SetRemotes moves it.
func (c *Control) AddRemotes(_ context.Context, list []RemoteRecord) error {
	return c.putRemotes("add", list)
}

// SetRemotes adds entries of the FDB, or changes those that there are.
func (c *Control) SetRemotes(_ context.Context, list []RemoteRecord) error {
	return c.putRemotes("set", list)
}

func (c *Control) putRemotes(verb string, list []RemoteRecord) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var do, undo Delta
	var edits []edit
	seen := make(map[RemoteKey]bool, len(list))
	for _, r := range list {
		old, known := c.have.remotes.get(r.key())
		if err := c.checkRemoteLocked(verb, r); err != nil {
			return objectError(verb, KindRemote, r.Title(), err)
		}
		if seen[r.key()] {
			return objectError(verb, KindRemote, r.Title(), invalid("it is there twice"))
		}
		seen[r.key()] = true
		if known && old.same(r) {
			continue
		}
		r.Addrs = slices.Clone(r.Addrs)
		do.Put.Remotes = append(do.Put.Remotes, Remote(r))
		edits = append(edits, edit{record: r})
		if known {
			undo.Put.Remotes = append(undo.Put.Remotes, Remote(old))
		} else {
			undo.DeleteRemotes = append(undo.DeleteRemotes, r.key())
		}
	}
	if len(edits) == 0 {
		return nil
	}
	if err := c.changeLocked(do, undo, edits...); err != nil {
		return objectError(verb, KindRemote, several(list), err)
	}
	return nil
}

func several(list []RemoteRecord) string {
	if len(list) == 1 {
		return list[0].Title()
	}
	return fmt.Sprintf("%s and %d more", list[0].Title(), len(list)-1)
}

func (r RemoteRecord) same(other RemoteRecord) bool {
	return r.VNI == other.VNI && r.MAC == other.MAC && r.Peer == other.Peer && slices.Equal(r.Addrs, other.Addrs)
}

func (c *Control) checkRemoteLocked(verb string, r RemoteRecord) error {
	if err := r.check(); err != nil {
		return err
	}
	if _, known := c.have.networks[r.VNI]; !known {
		return &ObjectError{Err: fmt.Errorf("network %d: %w", r.VNI, ErrNotFound), Remedy: "add the network first"}
	}
	if _, known := c.have.peers[r.Peer]; !known {
		return &ObjectError{Err: fmt.Errorf("peer %v: %w", r.Peer, ErrNotFound), Remedy: "add the peer first"}
	}
	if name, taken := c.have.macs[r.key()]; taken {
		return &ObjectError{Err: fmt.Errorf("MAC: %w", ErrConflict), Owner: "endpoint " + name, Remedy: "delete that one first"}
	}
	if what, who := c.have.addrOwner(r.VNI, r.MAC, r.Addrs); who != "" {
		return &ObjectError{Err: fmt.Errorf("%s: %w", what, ErrConflict), Owner: who, Remedy: "delete that one first"}
	}
	if old, known := c.have.remotes.get(r.key()); known && verb == "add" && !old.same(r) {
		return &ObjectError{Err: fmt.Errorf("%w: it has addresses %v", ErrConflict, old.Addrs), Owner: c.have.named(r.key()), Remedy: "set it, or delete it first"}
	}
	return nil
}

// DeleteRemotes deletes entries of the FDB. Absent is success.
func (c *Control) DeleteRemotes(_ context.Context, keys []RemoteKey) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var do, undo Delta
	var edits []edit
	seen := make(map[RemoteKey]bool, len(keys))
	for _, k := range keys {
		r, known := c.have.remotes.get(k)
		if !known || seen[k] {
			continue
		}
		seen[k] = true
		do.DeleteRemotes = append(do.DeleteRemotes, k)
		undo.Put.Remotes = append(undo.Put.Remotes, Remote(r))
		edits = append(edits, edit{record: r, deleted: true})
	}
	if len(edits) == 0 {
		return nil
	}
	if err := c.changeLocked(do, undo, edits...); err != nil {
		first, _ := edits[0].record.(RemoteRecord)
		return objectError("delete", KindRemote, first.Title(), err)
	}
	return nil
}

// AddPeer adds a remote VTEP. The same once more is a success; other settings
// are ErrConflict: SetPeer changes them.
func (c *Control) AddPeer(ctx context.Context, r PeerRecord) (PeerRecord, error) {
	return c.putPeer(ctx, "add", r)
}

// SetPeer adds a peer or changes it: that it is down, or the MTU of the path.
func (c *Control) SetPeer(ctx context.Context, r PeerRecord) (PeerRecord, error) {
	return c.putPeer(ctx, "set", r)
}

func (c *Control) putPeer(ctx context.Context, verb string, r PeerRecord) (PeerRecord, error) {
	r = PeerRecord{IP: r.IP, MTU: r.MTU, Down: r.Down}
	c.mu.Lock()
	old, known := c.have.peers[r.IP]
	err := r.check(&c.have)
	c.mu.Unlock()
	if err != nil {
		return PeerRecord{}, objectError(verb, KindPeer, r.Title(), err)
	}
	if known && old.MTU == r.MTU && old.Down == r.Down {
		return old, nil
	}
	if known && verb == "add" {
		err := fmt.Errorf("%w: it has MTU %d, down %v", ErrConflict, old.MTU, old.Down)
		return PeerRecord{}, &ObjectError{Verb: verb, Kind: KindPeer, Name: r.Title(), Err: err, Owner: "peer " + old.Title(), Remedy: "set it, or delete it first"}
	}
	r = c.resolve(ctx, r)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := cmp.Or(r.check(&c.have), c.putPeersLocked([]PeerRecord{r}, "")); err != nil {
		return PeerRecord{}, objectError(verb, KindPeer, r.Title(), err)
	}
	return r, nil
}

// putPeersLocked puts peers as they are now, all of them or none.
func (c *Control) putPeersLocked(list []PeerRecord, why string) error {
	var do, undo Delta
	var edits []edit
	for _, r := range list {
		do.Put.Peers = append(do.Put.Peers, c.have.peer(r))
		edits = append(edits, edit{record: r, note: why})
		if old, known := c.have.peers[r.IP]; known {
			undo.Put.Peers = append(undo.Put.Peers, c.have.peer(old))
		} else {
			undo.DeletePeers = append(undo.DeletePeers, r.IP)
		}
	}
	return c.changeLocked(do, undo, edits...)
}

// DeletePeer deletes a peer that nobody is behind. Absent is success.
func (c *Control) DeletePeer(_ context.Context, ip netip.Addr) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	r, known := c.have.peers[ip]
	if !known {
		return nil
	}
	var err error
	if c.have.remotes.behind[ip] > 0 {
		remote := c.have.remotes.find(func(r RemoteRecord) bool { return r.Peer == ip })
		err = &ObjectError{Err: ErrInUse, Owner: "remote " + remote.Title(), Remedy: "delete the remotes behind it first"}
	}
	if err == nil {
		err = c.changeLocked(Delta{DeletePeers: []netip.Addr{ip}}, Delta{Put: State{Peers: []Peer{c.have.peer(r)}}}, edit{record: r, deleted: true})
	}
	if err != nil {
		return objectError("delete", KindPeer, r.Title(), err)
	}
	delete(c.paths, ip)
	return nil
}

// Purge takes everything away, pairs and records too, and closes. What could
// not be deleted is in the error.
func (c *Control) Purge(ctx context.Context) error {
	var errs []error
	for _, e := range c.ListEndpoints() {
		errs = append(errs, c.DeleteEndpoint(ctx, e.Name))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	var keys []RemoteKey
	for _, r := range c.ListRemotes() {
		keys = append(keys, r.key())
	}
	errs = append(errs, c.DeleteRemotes(ctx, keys))
	for _, p := range c.ListPeers() {
		errs = append(errs, c.DeletePeer(ctx, p.IP))
	}
	for _, n := range c.ListNetworks() {
		errs = append(errs, c.DeleteNetwork(ctx, n.VNI))
	}
	errs = append(errs, c.DeleteUnderlay(ctx))
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return errors.Join(c.Close(), Purge(c.config.Dir))
}
