// SPDX-License-Identifier: Apache-2.0

package net

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"foundry/datapath/veth"
)

// patience is how long an answer may take before it is taken for lost.
const patience = 10 * time.Second

// family is how IPv4 and IPv6 say the same.
type family struct {
	network, any   string
	header         int // of IP and ICMP
	request, reply byte
}

// families are what everything is to be done in.
var families = map[bool]family{
	false: {"ip4:icmp", "0.0.0.0", 28, 8, 0},
	true:  {"ip6:ipv6-icmp", "::", 48, 128, 129},
}

// pings sends echo requests in packets of each size that there is, up to one
// that must be cut up, of both families, and wants them back as they were.
func (c *container) pings(to *container) {
	c.h.f.Helper()
	for _, ip := range to.addrs() {
		if err := pingSizes(c.ns, ip, 0, c.mtu+1); err != nil {
			c.h.f.Errorf("ping %v -> %v: %v", c, to, err)
		}
	}
}

// reaches wants one echo back, by each family.
func (c *container) reaches(to *container) {
	c.h.f.Helper()
	for _, ip := range to.addrs() {
		if err := pingSizes(c.ns, ip, 100, 100); err != nil {
			c.h.f.Errorf("ping %v -> %v: %v", c, to, err)
		}
	}
}

// pinger sends echo requests from one namespace.
type pinger struct {
	family
	conn net.PacketConn
	id   uint16
}

func newPinger(ns *veth.NS, v6 bool) (*pinger, error) {
	f := families[v6]
	conn, err := in(ns, func() (net.PacketConn, error) { return net.ListenPacket(f.network, f.any) })
	if err != nil {
		return nil, err
	}
	return &pinger{family: f, conn: conn, id: uint16(os.Getpid())}, nil
}

// pingSizes sends one request of each size of its packet.
func pingSizes(ns *veth.NS, ip netip.Addr, from, upTo int) error {
	p, err := newPinger(ns, ip.Is6())
	if err != nil {
		return err
	}
	defer p.conn.Close()
	for size := max(from, p.header); size <= upTo; {
		next := min(size+max(1, min(16, window/size)), upTo+1)
		if err := p.batch(ip, size, next); err != nil {
			return err
		}
		size = next
	}
	return nil
}

// window is how many bytes are on their way at once: far less than what a
// receiver's buffer holds.
const window = 16 << 10

// batch sends requests in packets of sizes from..to-1 and waits for all.
func (p *pinger) batch(ip netip.Addr, from, to int) error {
	for size := from; size < to; size++ {
		if _, err := p.conn.WriteTo(p.echo(size), &net.IPAddr{IP: ip.AsSlice()}); err != nil {
			return fmt.Errorf("send %d bytes: %w", size, err)
		}
	}
	missing := map[int]bool{}
	for size := from; size < to; size++ {
		missing[size] = true
	}
	if err := p.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	for len(missing) > 0 {
		size, err := p.answer(ip)
		if err != nil {
			return fmt.Errorf("packets of %d to %d bytes: %d unanswered: %w", from, to-1, len(missing), err)
		}
		delete(missing, size)
	}
	return nil
}

// each wants one echo of each of several.
func (p *pinger) each(ips []netip.Addr) error {
	const size = 100
	missing := map[string]bool{}
	for _, ip := range ips {
		if _, err := p.conn.WriteTo(p.echo(size), &net.IPAddr{IP: ip.AsSlice()}); err != nil {
			return fmt.Errorf("send to %v: %w", ip, err)
		}
		missing[ip.String()] = true
	}
	if err := p.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	for b := make([]byte, 1<<16); len(missing) > 0; {
		n, from, err := p.conn.ReadFrom(b)
		if err != nil {
			return fmt.Errorf("unanswered by %v: %w", slices.Sorted(maps.Keys(missing)), err)
		}
		if n == size-p.header+8 && b[0] == p.reply && binary.BigEndian.Uint16(b[4:]) == p.id {
			delete(missing, from.String())
		}
	}
	return nil
}

// echo is a request that fills a packet of a size; its number is the size.
func (p *pinger) echo(size int) []byte {
	b := make([]byte, size-p.header+8)
	for i := range b[8:] {
		b[8+i] = byte(i*7 + size)
	}
	b[0] = p.request
	binary.BigEndian.PutUint16(b[4:], p.id)
	binary.BigEndian.PutUint16(b[6:], uint16(size))
	if p.request == families[false].request { // of ICMPv6 the kernel does it
		binary.BigEndian.PutUint16(b[2:], ^fold(sum(b)))
	}
	return b
}

// answer waits for an answer from ip and returns the size of its packet.
func (p *pinger) answer(ip netip.Addr) (int, error) {
	b := make([]byte, 1<<16)
	for {
		n, from, err := p.conn.ReadFrom(b)
		if err != nil {
			return 0, err
		}
		if n < 8 || b[0] != p.reply || binary.BigEndian.Uint16(b[4:]) != p.id || from.String() != ip.String() {
			continue
		}
		size := int(binary.BigEndian.Uint16(b[6:]))
		if want := p.echo(size); !bytes.Equal(b[8:n], want[8:]) {
			return 0, fmt.Errorf("packet of %d bytes came back changed: %d bytes", size, n-8+p.header)
		}
		return size, nil
	}
}

// sum adds up 16-bit words as checksums do.
func sum(b []byte) (s uint32) {
	for ; len(b) > 1; b = b[2:] {
		s += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		s += uint32(b[0]) << 8
	}
	return s
}

func fold(s uint32) uint16 {
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}
