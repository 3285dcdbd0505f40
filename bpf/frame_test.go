// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
)

// Frames are built from the inside out: eth(b, a, ipv4(ip{...}, udp(...))).

var be = binary.BigEndian

func mac(s string) net.HardwareAddr {
	m, err := net.ParseMAC(s)
	if err != nil {
		panic(err)
	}
	return m
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func eth(dst, src string, kind uint16, payload []byte) []byte {
	return join(mac(dst), mac(src), be.AppendUint16(nil, kind), payload)
}

// ip is what the tests vary of an IP header.
type ip struct {
	src, dst string
	proto    byte
	tos      byte
	ttl      byte   // 0: 64
	frag     uint16 // IPv4: flags and offset
	options  []byte
}

func (h ip) hops() byte {
	if h.ttl == 0 {
		return 64
	}
	return h.ttl
}

func ipv4(h ip, payload []byte) []byte {
	b := []byte{0x45 + byte(len(h.options)/4), h.tos}
	b = be.AppendUint16(b, uint16(20+len(h.options)+len(payload)))
	b = be.AppendUint16(b, 0)
	b = be.AppendUint16(b, h.frag)
	b = append(b, h.hops(), h.proto, 0, 0)
	b = join(b, addr(h.src).AsSlice(), addr(h.dst).AsSlice(), h.options)
	be.PutUint16(b[10:], checksum(b))
	return append(b, payload...)
}

func ipv6(h ip, payload []byte) []byte {
	b := be.AppendUint32(nil, 6<<28|uint32(h.tos)<<20)
	b = be.AppendUint16(b, uint16(len(payload)))
	b = append(b, h.proto, h.hops())
	return join(b, addr(h.src).AsSlice(), addr(h.dst).AsSlice(), payload)
}

func pseudo(src, dst string, proto byte, n int) []byte {
	return join(addr(src).AsSlice(), addr(dst).AsSlice(), be.AppendUint32(nil, uint32(n)), []byte{0, 0, 0, proto})
}

// checksum of parts, all of even length but the last.
func checksum(parts ...[]byte) uint16 {
	var sum uint32
	for _, b := range parts {
		for i := 0; i < len(b); i += 2 {
			sum += uint32(b[i]) << 8
			if i+1 < len(b) {
				sum += uint32(b[i+1])
			}
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// udp has no checksum, tcp one of zero: no program looks at them.
func udp(src, dst uint16, payload []byte) []byte {
	b := be.AppendUint16(nil, src)
	b = be.AppendUint16(b, dst)
	b = be.AppendUint16(b, uint16(8+len(payload)))
	return join(b, []byte{0, 0}, payload)
}

func tcp(src, dst uint16, payload []byte) []byte {
	b := be.AppendUint16(nil, src)
	b = be.AppendUint16(b, dst)
	return join(b, make([]byte, 8), []byte{0x50, 0x10, 0, 0, 0, 0, 0, 0}, payload)
}

func icmp4(kind byte, payload []byte) []byte {
	b := join([]byte{kind, 0, 0, 0, 0, 1, 0, 1}, payload)
	be.PutUint16(b[2:], checksum(b))
	return b
}

func icmp6(h ip, kind byte, body []byte) []byte {
	b := join([]byte{kind, 0, 0, 0}, body)
	be.PutUint16(b[2:], checksum(pseudo(h.src, h.dst, 58, len(b)), b))
	h.proto = 58
	return ipv6(h, b)
}

// nd is a solicitation (135) or advertisement (136) with options.
func nd(h ip, kind byte, flags uint32, target string, options ...[]byte) []byte {
	if h.ttl == 0 {
		h.ttl = 255
	}
	return icmp6(h, kind, join(be.AppendUint32(nil, flags<<24), addr(target).AsSlice(), join(options...)))
}

func lladdr(kind byte, m string) []byte { return join([]byte{kind, 1}, mac(m)) }

func arp(op uint16, sha, spa, tha, tpa string) []byte {
	return join([]byte{0, 1, 8, 0, 6, 4}, be.AppendUint16(nil, op),
		mac(sha), addr(spa).AsSlice(), mac(tha), addr(tpa).AsSlice())
}

func vxlan(flags, vni uint32, inner []byte) []byte {
	return join(be.AppendUint32(nil, flags), be.AppendUint32(nil, vni<<8), inner)
}

// fill is a payload that can be recognised.
func fill(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return b
}
