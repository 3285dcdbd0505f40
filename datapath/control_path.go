// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"cmp"
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"foundry/bpf"
)

// A router on the way to a peer that is narrower than our uplink says so to
// this VTEP, once for each frame that it refuses. The kernel has no socket for
// what our programs send, and forgets it. So the messages are read here, and
// what they say is the MTU of the path for a while.

// pathAge is how long a message counts, as in the kernel
// (net.ipv4.route.mtu_expires); then the path may have become wider.
const pathAge = 10 * time.Minute

// Less is not believed: of IPv4 as the kernel does (net.ipv4.route.min_pmtu),
// of IPv6 by RFC 8200.
const (
	leastPath4 = 552
	leastPath6 = 1280
)

// narrow is what is known of a path.
type narrow struct {
	mtu   int
	until time.Time
}

// listenPaths hears ICMP until ctx ends. Without it all goes on but for paths
// that are narrower than routes and records say.
func (c *Control) listenPaths(ctx context.Context, network string) {
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		if failed := raw.Control(func(fd uintptr) { err = onlyTooBig(int(fd), network) }); failed != nil {
			return failed
		}
		return err
	}}
	conn, err := config.ListenPacket(ctx, network, "")
	if err != nil {
		c.log.Warn("narrow paths to peers are not noticed", "network", network, "error", err)
		return
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer func() {
		if stop() {
			conn.Close()
		}
	}()
	buf := make([]byte, 256)
	for {
		n, _, err := conn.ReadFrom(buf)
		if err != nil {
			return // closed
		}
		peer, local, port, mtu := tooBig(buf[:n], network)
		c.learn(peer, local, port, mtu)
	}
}

// onlyTooBig has the kernel keep all other messages back.
func onlyTooBig(fd int, network string) error {
	if network == "ip4:icmp" {
		const icmpFilter = 1 // linux/icmp.h; a set bit blocks its type
		return unix.SetsockoptInt(fd, unix.SOL_RAW, icmpFilter, ^(1 << unreachable))
	}
	filter := unix.ICMPv6Filter{}
	for i := range filter.Data {
		filter.Data[i] = 0xffffffff
	}
	filter.Data[0] &^= 1 << tooBig6
	return unix.SetsockoptICMPv6Filter(fd, unix.SOL_ICMPV6, unix.ICMPV6_FILTER, &filter)
}

const (
	unreachable = 3 // RFC 792, with fragNeeded RFC 1191
	fragNeeded  = 4
	tooBig6     = 2 // RFC 4443
)

// tooBig reads a message and the packet that it quotes: who sent that to
// whom, to which UDP port, and what would have fitted. What is no such message
// has an MTU of 0.
func tooBig(b []byte, network string) (to, from netip.Addr, port uint16, mtu int) {
	const icmp = 8
	v4 := network == "ip4:icmp"
	header, proto, src, size := 40, 6, 8, 16
	if v4 {
		header, proto, src, size = 20, 9, 12, 4
	}
	if len(b) < icmp+header {
		return to, from, 0, 0
	}
	quoted := b[icmp:]
	switch {
	case v4 && b[0] == unreachable && b[1] == fragNeeded:
		header, mtu = int(quoted[0]&0xf)*4, int(binary.BigEndian.Uint16(b[6:]))
	case !v4 && b[0] == tooBig6:
		mtu = int(min(binary.BigEndian.Uint32(b[4:]), 0xffff))
	}
	if header < 20 || len(quoted) < header+4 || quoted[proto] != unix.IPPROTO_UDP {
		return to, from, 0, 0
	}
	from, _ = netip.AddrFromSlice(quoted[src : src+size])
	to, _ = netip.AddrFromSlice(quoted[src+size : src+2*size])
	return to, from, binary.BigEndian.Uint16(quoted[header+2:]), mtu
}

// learn notes that a path is narrow, when the message is about what we sent
// to a peer, and has its headers made anew.
func (c *Control) learn(peer, local netip.Addr, port uint16, mtu int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	u := c.have.underlay
	p, known := c.have.peers[peer]
	if c.closed || u == nil || !known || p.MTU != 0 || mtu == 0 { // an MTU that is set is what is wanted
		return
	}
	if port != cmp.Or(u.Port, bpf.DefaultPort) || local != u.IPv4 && local != u.IPv6 {
		return
	}
	least := leastPath4
	if peer.Is6() {
		least = leastPath6
	}
	mtu = max(mtu, least)
	if mtu >= c.have.peer(p).MTU {
		return
	}
	c.log.Info("the path to a peer is narrow", "peer", peer, "mtu", mtu)
	c.paths[peer] = narrow{mtu, time.Now().Add(pathAge)}
	if c.todo.peers == nil {
		c.todo.peers = map[netip.Addr]bool{}
	}
	c.todo.peers[peer] = true
	c.wake()
}

// pathMTU is what the route says of a path, or less.
func (c *Control) pathMTU(peer netip.Addr, route int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	path, known := c.paths[peer]
	if known && time.Now().After(path.until) {
		delete(c.paths, peer)
		known = false
	}
	if !known || route != 0 && route < path.mtu {
		return route
	}
	return path.mtu
}
