// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"fmt"
	"hash/fnv"
	"net"
	"net/netip"
	"strings"
)

// dump prints a frame, one header a line, with every field that can differ.
// It is the oracle of the goldens, so it shares nothing with the programs: it
// adds up checksums itself. What differs between runs, the entropy of a
// tunnel's source port and flow label, prints as a star.
func dump(b []byte) string {
	d := &dumper{}
	d.eth(b)
	return d.out.String()
}

type dumper struct {
	out    strings.Builder
	tunnel bool
}

func (d *dumper) line(format string, args ...any) {
	fmt.Fprintf(&d.out, "     "+format+"\n", args...)
}

func (d *dumper) eth(b []byte) {
	if len(b) < 14 {
		d.rest("runt", b)
		return
	}
	kind := be.Uint16(b[12:])
	d.line("eth %v > %v type %04x", net.HardwareAddr(b[6:12]), net.HardwareAddr(b[:6]), kind)
	switch b = b[14:]; {
	case kind == 0x0806 && len(b) >= 28:
		d.arp(b)
	case kind == 0x0800 && len(b) >= 20 && b[0]>>4 == 4 && b[0]&15 >= 5 && int(b[0]&15)*4 <= len(b):
		d.ipv4(b)
	case kind == 0x86dd && len(b) >= 40:
		d.ipv6(b)
	default:
		d.rest("bytes", b)
	}
}

func (d *dumper) rest(what string, b []byte) {
	switch {
	case len(b) == 0:
	case len(b) <= 32:
		d.line("%s %d: %x", what, len(b), b)
	default:
		h := fnv.New32a()
		h.Write(b)
		d.line("%s %d: %x... fnv %08x", what, len(b), b[:16], h.Sum32())
	}
}

func (d *dumper) arp(b []byte) {
	d.line("arp %x op %d: %v is at %v, asks %v of %v", b[:6], be.Uint16(b[6:]), netip.AddrFrom4([4]byte(b[14:18])),
		net.HardwareAddr(b[8:14]), netip.AddrFrom4([4]byte(b[24:28])), net.HardwareAddr(b[18:24]))
	d.rest("padding", b[28:])
}

// sum says whether checksums come out.
func sum(parts ...[]byte) string {
	if checksum(parts...) != 0 {
		return "BAD"
	}
	return "ok"
}

func (d *dumper) ipv4(b []byte) {
	header := int(b[0]&15) * 4
	d.line("ip4 %v > %v tos %02x len %d id %d frag %04x ttl %d proto %d sum %s%s", netip.AddrFrom4([4]byte(b[12:16])),
		netip.AddrFrom4([4]byte(b[16:20])), b[1], be.Uint16(b[2:]), be.Uint16(b[4:]), be.Uint16(b[6:]), b[8], b[9],
		sum(b[:header]), options(b[20:header]))
	if n := int(be.Uint16(b[2:])); n != len(b) {
		d.line("but has %d bytes", len(b))
	}
	if be.Uint16(b[6:])&0x1fff != 0 {
		d.rest("fragment", b[header:])
		return
	}
	d.l4(b[9], b[header:], nil)
}

func (d *dumper) ipv6(b []byte) {
	flow := be.Uint32(b)
	label := fmt.Sprintf("%05x", flow&0xfffff)
	if b[6] == 17 && len(b) >= 48 && be.Uint16(b[42:]) == 4789 {
		label = "*"
	}
	d.line("ip6 %v > %v version %d class %02x label %s len %d next %d hops %d", netip.AddrFrom16([16]byte(b[8:24])),
		netip.AddrFrom16([16]byte(b[24:40])), flow>>28, flow>>20&0xff, label, be.Uint16(b[4:]), b[6], b[7])
	if n := int(be.Uint16(b[4:])); n != len(b)-40 {
		d.line("but has %d bytes", len(b)-40)
	}
	d.l4(b[6], b[40:], join(b[8:40], be.AppendUint32(nil, uint32(len(b)-40)), []byte{0, 0, 0, b[6]}))
}

func options(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	return fmt.Sprintf(" options %x", b)
}

// l4 prints what is behind an IP header. A quoted packet is cut off: its
// checksums cannot come out, and are not looked at.
func (d *dumper) l4(proto byte, b, pseudo []byte) {
	switch {
	case proto == 17 && len(b) >= 8:
		d.udp(b)
	case proto == 6 && len(b) >= 20:
		d.line("tcp %d > %d offset %d flags %02x", be.Uint16(b), be.Uint16(b[2:]), b[12]>>4, b[13])
		d.rest("payload", b[20:])
	case proto == 1 && len(b) >= 8:
		d.line("icmp type %d code %d sum %s rest %x", b[0], b[1], sum(b), b[4:8])
		d.rest("payload", b[8:])
	case proto == 58 && len(b) >= 24 && (b[0] == 135 || b[0] == 136):
		d.line("nd type %d code %d sum %s flags %x target %v", b[0], b[1], sum(pseudo, b), b[4:8], netip.AddrFrom16([16]byte(b[8:24])))
		d.rest("options", b[24:])
	case proto == 58 && len(b) >= 8:
		d.line("icmp6 type %d code %d sum %s rest %x", b[0], b[1], sum(pseudo, b), b[4:8])
		d.rest("payload", b[8:])
	default:
		d.rest("payload", b)
	}
}

func (d *dumper) udp(b []byte) {
	src, dst := be.Uint16(b), be.Uint16(b[2:])
	from := fmt.Sprint(src)
	if dst == 4789 && src >= 49152 {
		from = "*"
	}
	d.line("udp %s > %d len %d sum %04x", from, dst, be.Uint16(b[4:]), be.Uint16(b[6:]))
	if dst != 4789 || len(b) < 16 || d.tunnel {
		d.rest("payload", b[8:])
		return
	}
	d.tunnel = true
	d.line("vxlan flags %08x vni %d reserved %02x", be.Uint32(b[8:]), be.Uint32(b[12:])>>8, b[15])
	d.eth(b[16:])
}
