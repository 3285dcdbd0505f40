// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"foundry/datapath/veth"
)

// todo is what has to be looked at anew, since the last time.
type todo struct {
	uplink   bool
	allPeers bool
	peers    map[netip.Addr]bool
	check    bool // everything
}

// wake has maintain do what is due.
func (c *Control) wake() {
	select {
	case c.kick <- struct{}{}:
	default: // it is awake
	}
}

// watchHost follows links and neighbours of the host. What it notes is looked
// at by maintain: the kernel does not wait for a reader.
func (c *Control) watchHost(ctx context.Context) {
	for ctx.Err() == nil {
		if err := veth.Watch(ctx, c.notice); err != nil {
			c.log.Error("nothing tells of changes of links and neighbours: they are seen by the next reconciling", "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	}
}

// notice takes note of an event.
func (c *Control) notice(e veth.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	u := c.have.underlay
	switch e.Kind {
	case veth.Resync:
		c.todo.uplink, c.todo.allPeers, c.todo.check = true, true, true
	case veth.LinkGone:
		if name, ours := c.have.byPort[e.Ifindex]; ours && c.pending[name] == nil {
			c.breakLocked(c.have.endpoints[name], "its pair is gone: deleted from inside or outside, or with its namespace")
		}
		c.todo.uplink = c.todo.uplink || u != nil && e.Ifindex == u.Ifindex
	case veth.LinkChanged:
		c.todo.uplink = c.todo.uplink || u != nil && (e.Ifindex == u.Ifindex || e.Name == u.Ifname)
	case veth.AddrAdded, veth.AddrGone:
		c.todo.uplink = c.todo.uplink || u != nil && e.Ifindex == u.Ifindex
	case veth.NeighChanged, veth.NeighFailed:
		if u == nil || e.Ifindex != u.Ifindex || !c.neighbourLocked(e) {
			return
		}
	}
	if c.todo.uplink || c.todo.allPeers || c.todo.check || len(c.todo.peers) > 0 {
		c.wake()
	}
}

// neighbourLocked notes which peers a neighbour may concern: itself, those
// that it was the next hop of, and those that have none.
func (c *Control) neighbourLocked(e veth.Event) bool {
	const most = 4096
	old, seen := c.neighs[e.IP]
	if e.Kind == veth.NeighFailed {
		delete(c.neighs, e.IP)
	} else if len(c.neighs) < most || seen {
		c.neighs[e.IP] = e.MAC
	}
	concerned := false
	for ip, p := range c.have.peers {
		changed := ip == e.IP || seen && p.NextHop == old || p.Stale
		if e.Kind == veth.NeighChanged && p.NextHop == e.MAC && !p.Stale || !changed {
			continue
		}
		if c.todo.peers == nil {
			c.todo.peers = map[netip.Addr]bool{}
		}
		c.todo.peers[ip], concerned = true, true
	}
	return concerned
}

// breakLocked: the pair of an endpoint is gone. Nothing is sent to a device of
// that number any more, whosever it is next; the record stays until the next
// reconciling, to be seen.
func (c *Control) breakLocked(r EndpointRecord, why string) {
	c.counts.lost++
	err := c.updateLocked(c.have.without(r))
	r.Broken = why
	if err = errors.Join(err, c.recordLocked(edit{record: r, note: why})); err != nil {
		c.log.Error("endpoint is broken, and its entries stay", "endpoint", r.Name, "cause", why, "error", err)
		return
	}
	c.log.Warn("endpoint is broken", "endpoint", r.Name, "cause", why)
}

// maintain does what notice has noted, and reconciles from time to time.
func (c *Control) maintain(ctx context.Context) {
	interval := c.config.Interval
	if interval == 0 {
		interval = time.Minute
	}
	timer := time.NewTimer(max(interval, 0))
	defer timer.Stop()
	if interval < 0 {
		timer.Stop()
	} else {
		timer.Reset(interval)
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.kick:
			c.attend(ctx)
		case <-timer.C:
			begun := time.Now()
			c.periodic(ctx)
			// Of a large table it takes its time: one percent of it at most.
			timer.Reset(max(interval, 100*time.Since(begun)))
		}
	}
}

func (c *Control) periodic(ctx context.Context) {
	changes, err := c.Reconcile(ctx, false)
	if err != nil {
		c.log.Error("reconcile the data plane", "error", err)
	}
	for _, change := range changes {
		c.log.Warn("repaired the data plane", "change", change.String())
	}
	for _, p := range c.ListPeers() {
		// What becomes of it the kernel tells, to notice.
		if err := veth.Confirm(p.IP); err != nil && ctx.Err() == nil {
			c.log.Debug("nobody confirms the next hop", "peer", p.IP, "error", err)
		}
	}
	c.refreshPeers(ctx, func(PeerRecord) bool { return true })
}

// attend does what is due.
func (c *Control) attend(ctx context.Context) {
	c.mu.Lock()
	due := c.todo
	c.todo = todo{}
	c.mu.Unlock()
	if due.uplink {
		c.mu.Lock()
		if err := c.followUplinkLocked(); err != nil {
			c.log.Error("follow the uplink", "error", err)
		}
		due.allPeers = due.allPeers || c.todo.allPeers
		c.mu.Unlock()
	}
	if due.check {
		c.checkPairs()
	}
	if due.allPeers || len(due.peers) > 0 {
		c.refreshPeers(ctx, func(p PeerRecord) bool { return due.allPeers || due.peers[p.IP] })
	}
}

// checkPairs looks for pairs that went while nobody watched.
func (c *Control) checkPairs() {
	links, err := linksByIndex()
	if err != nil {
		c.log.Error("look for pairs", "error", err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.have.endpoints {
		if r.Broken == "" && c.pending[r.Name] == nil && links[r.Ifindex].Name != r.HostName && !alive(r) {
			c.breakLocked(r, "its pair is gone")
		}
	}
}

// linksByIndex are the devices that there are.
func linksByIndex() (map[int]net.Interface, error) {
	list, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list devices: %w", err)
	}
	links := make(map[int]net.Interface, len(list))
	for _, l := range list {
		links[l.Index] = l
	}
	return links, nil
}

// followUplinkLocked makes the underlay what the device is now: gone, back,
// under another name, with another address, MAC or MTU.
func (c *Control) followUplinkLocked() error {
	if c.have.underlay == nil {
		return nil
	}
	was := *c.have.underlay
	now, why := c.followLocked(was)
	if now == was {
		return nil
	}
	c.log.Warn("the uplink changed", "device", now.Ifname, "cause", why, "problem", now.Problem)
	_, err := c.putUnderlayLocked(now, why)
	return err
}

// followLocked is the underlay as it is now, what else depends on it counted in.
func (c *Control) followLocked(was UnderlayRecord) (UnderlayRecord, string) {
	now, why := was.follow()
	if err := c.familiesLocked(now); err != nil {
		now.IPv4, now.IPv6, now.Problem = was.IPv4, was.IPv6, err.Error()
	}
	made, err := c.tunnel(now)
	if err != nil {
		made.Problem = err.Error()
	}
	return made, why
}

// follow is the underlay as it is now, and what changed.
func (r UnderlayRecord) follow() (UnderlayRecord, string) {
	why := fmt.Sprintf("device %s changed", r.Ifname)
	u, err := veth.UplinkOf(r.Ifname)
	if errors.Is(err, veth.ErrNotFound) && r.Ifindex > 0 {
		if link, found := net.InterfaceByIndex(r.Ifindex); found == nil {
			why = fmt.Sprintf("device %s is called %s now", r.Ifname, link.Name)
			u, err = veth.UplinkOf(link.Name)
		}
	}
	if err != nil {
		r.Ifindex, r.Native, r.NoXDP, r.Problem = 0, false, "", fmt.Sprintf("device %s is gone", r.Ifname)
		return r, r.Problem
	}
	now, err := r.observe(u)
	if err != nil {
		now.Problem = err.Error()
	}
	// That the device lost its addresses is no reason to forget which they were.
	if !now.IPv4.IsValid() && !now.IPv6.IsValid() {
		now.IPv4, now.IPv6 = r.IPv4, r.IPv6
	}
	return now.after(r), why
}

// refreshPeers looks for the next hops of peers, some side by side.
func (c *Control) refreshPeers(ctx context.Context, which func(PeerRecord) bool) {
	const atOnce = 16
	var work sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for _, p := range c.ListPeers() {
		if !which(p) || ctx.Err() != nil {
			continue
		}
		slots <- struct{}{}
		work.Go(func() {
			defer func() { <-slots }()
			c.refreshPeer(p, c.resolve(ctx, p))
		})
	}
	work.Wait()
}

// refreshPeer takes in how a peer is reached now, unless somebody else has
// changed it since.
func (c *Control) refreshPeer(was, now PeerRecord) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || now == was || c.have.peers[was.IP] != was {
		return
	}
	why := "its next hop is " + now.NextHop.String()
	if now.Stale {
		why = now.Problem
	} else if now.NextHop == was.NextHop && now.PathMTU != was.PathMTU {
		why = fmt.Sprintf("the MTU of its path is %d", now.PathMTU)
	}
	if err := c.putPeersLocked([]PeerRecord{now}, why); err != nil {
		c.log.Error("change the way to a peer", "peer", was.IP, "error", err)
	}
}
