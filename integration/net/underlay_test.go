// SPDX-License-Identifier: Apache-2.0

package net

import (
	"encoding/binary"
	"fmt"
	"net"
	"testing"
)

// outer is a frame of VXLAN on the wire.
type outer struct {
	from, to net.IP
	port     uint16 // source's
	vni      uint32
	packet   []byte // the outer IP packet
	inner    []byte // frame
}

// parseOuter returns nil for what is no VXLAN.
func parseOuter(b []byte) *outer {
	if len(b) < 14 {
		return nil
	}
	o := &outer{packet: b[14:]}
	var rest []byte
	switch kind := binary.BigEndian.Uint16(b[12:]); {
	case kind == 0x0800 && len(b) >= 50 && b[23] == 17:
		o.from, o.to, rest = b[26:30], b[30:34], b[34:]
	case kind == 0x86dd && len(b) >= 70 && b[20] == 17:
		o.from, o.to, rest = b[22:38], b[38:54], b[54:]
	default:
		return nil
	}
	if binary.BigEndian.Uint16(rest[2:]) != 4789 {
		return nil
	}
	o.port, o.vni, o.inner = binary.BigEndian.Uint16(rest), binary.BigEndian.Uint32(rest[12:])>>8, rest[16:]
	return o
}

// wrong says what a receiver that trusts nobody would object to.
func (o *outer) wrong(mtu int) error {
	if err := checkIP(o.packet); err != nil {
		return fmt.Errorf("outer: %w", err)
	}
	ttl, flags, vxlan := o.packet[8], o.packet[6], o.packet[28:]
	if o.packet[0]>>4 == 6 {
		ttl, flags, vxlan = o.packet[7], 0x40, o.packet[48:]
	}
	switch {
	case len(o.packet) > mtu:
		return fmt.Errorf("%d bytes on a wire of %d", len(o.packet), mtu)
	case ttl != 64 || flags != 0x40:
		return fmt.Errorf("TTL %d, flags %#x", ttl, flags)
	case o.port < 49152:
		return fmt.Errorf("from port %d", o.port)
	case vxlan[0] != 0x08 || vxlan[1]|vxlan[2]|vxlan[3]|vxlan[7] != 0:
		return fmt.Errorf("VXLAN header % x", vxlan[:8])
	}
	if kind := binary.BigEndian.Uint16(o.inner[12:]); kind == 0x0800 || kind == 0x86dd {
		if err := checkIP(o.inner[14:]); err != nil {
			return fmt.Errorf("inner: %w", err)
		}
	}
	return nil
}

// checkIP looks at lengths and checksums of a whole IP packet. UDP may leave
// its checksum out: over IPv6, too, in a tunnel (RFC 6935).
func checkIP(b []byte) error {
	var proto byte
	var data []byte
	var pseudo uint32
	if b[0]>>4 == 4 {
		if n := int(binary.BigEndian.Uint16(b[2:])); n != len(b) {
			return fmt.Errorf("IPv4 says %d bytes of %d", n, len(b))
		}
		if got := fold(sum(b[:20])); got != 0xffff {
			return fmt.Errorf("IPv4 header: sum is %#x", got)
		}
		proto, data, pseudo = b[9], b[20:], sum(b[12:20])
		if binary.BigEndian.Uint16(b[6:])&0x3fff != 0 {
			return nil // a fragment
		}
	} else {
		if n := int(binary.BigEndian.Uint16(b[4:])); n != len(b)-40 {
			return fmt.Errorf("IPv6 says %d bytes of %d", n, len(b)-40)
		}
		proto, data, pseudo = b[6], b[40:], sum(b[8:40])
	}
	return checkTransport(proto, data, pseudo+uint32(proto)+uint32(len(data)))
}

func checkTransport(proto byte, data []byte, pseudo uint32) error {
	switch proto {
	case 1: // ICMP has no pseudo header
		pseudo = 0
	case 17:
		if n := int(binary.BigEndian.Uint16(data[4:])); n != len(data) {
			return fmt.Errorf("UDP says %d bytes of %d", n, len(data))
		}
		if binary.BigEndian.Uint16(data[6:]) == 0 {
			return nil
		}
	case 6, 58:
	default:
		return nil
	}
	if got := fold(pseudo + sum(data)); got != 0xffff {
		return fmt.Errorf("protocol %d, %d bytes: sum is %#x", proto, len(data), got)
	}
	return nil
}

// Each frame on a wire that leaves nothing to the receiver is right by itself.
func TestUnderlayFrames(t *testing.T) {
	for _, w := range some([]wire{{}, {v6: true, xdp: true}, {v6: true}, {xdp: true}, {kernel: true}, {v6: true, kernel: true}}) {
		w.switched = true
		t.Run(w.String(), func(t *testing.T) {
			f := newFabric(t, 2, w)
			a := f.hosts[0].container(place{vni: 0xabcdef, n: 1, xdp: w.xdp})
			b := f.hosts[1].container(place{vni: 0xabcdef, n: 2, xdp: w.xdp})
			var wires []*tap
			for i, h := range f.hosts {
				offload(t, h.ns, "up0", txChecksum, false)
				wires = append(wires, f.tap(f.sw, fmt.Sprint("port", i), "from "+h.name))
			}
			f.cut(true)
			a.reaches(b)
			for _, ip := range b.addrs() {
				a.streams(b, ip, 2<<20)
				a.segments(b, ip)
			}
			f.inspect(wires)
			f.intact()
		})
	}
}

func (f *fabric) inspect(wires []*tap) {
	f.Helper()
	for _, t := range wires {
		frames, ports := 0, map[uint16]bool{}
		for b := t.next(0); b != nil; b = t.next(0) {
			o := parseOuter(b)
			if o == nil {
				continue
			}
			frames++
			ports[o.port] = true
			if err := o.wrong(f.mtu); err != nil {
				f.Fatalf("%s: frame %d: %v\n% x", t.name, frames, err, b[:min(len(b), 128)])
			}
			if o.vni != 0xabcdef {
				f.Fatalf("%s: VNI: got %#x, want 0xabcdef", t.name, o.vni)
			}
		}
		f.Logf("%s: %d frames, %d source ports", t.name, frames, len(ports))
		if frames == 0 || len(ports) < 2 {
			f.Errorf("%s: got %d frames by %d source ports", t.name, frames, len(ports))
		}
	}
}
