// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
)

// Tunnel is what the outer headers to a VTEP are made of.
type Tunnel struct {
	LocalMAC, RemoteMAC net.HardwareAddr // RemoteMAC is of the next hop
	Local, Remote       netip.Addr
	Port                uint16 // 0: DefaultPort
	Ifindex             int    // the uplink
	MTU                 int    // of the path; 0: unlimited
}

// DefaultPort is that of VXLAN (RFC 7348).
const DefaultPort uint16 = 4789

// Bytes of outer headers, the inner Ethernet header not counted.
const (
	Overhead4 = 50
	Overhead6 = 70
)

// NewVtep makes the entry of a remote VTEP: its headers are written before
// the first packet is sent to it, and copied into each.
func NewVtep(t Tunnel) (VtepEntry, error) {
	v := VtepEntry{Ip: AddrOf(t.Remote), Ifindex: uint32(t.Ifindex), Family: uint16(Family(t.Remote))}
	if t.Local.Is4() != t.Remote.Is4() || !t.Local.IsValid() || len(t.LocalMAC) != 6 || len(t.RemoteMAC) != 6 {
		return v, fmt.Errorf("make headers to VTEP %v: from %v: needs two addresses of one family and two MACs", t.Remote, t.Local)
	}
	overhead := Overhead4
	if t.Remote.Is6() {
		overhead = Overhead6
	}
	if t.MTU > 0 {
		// The outer Ethernet header is not in the path's MTU, the inner one is: both are 14 bytes.
		v.Mtu = uint16(min(t.MTU-overhead, 0xffff))
	}
	h := append(make([]byte, 2, len(v.Outer)), t.RemoteMAC...)
	h = append(h, t.LocalMAC...)
	copy(v.Outer[:], appendOuter(h, t))
	return v, nil
}

func appendOuter(h []byte, t Tunnel) []byte {
	const df, ttl, udp = 0x40, 64, 17
	if t.Remote.Is4() {
		h = append(h, 0x08, 0x00, 0x45, 0, 0, 0, 0, 0, df, 0, ttl, udp, 0, 0)
	} else {
		h = append(h, 0x86, 0xdd, 0x60, 0, 0, 0, 0, 0, udp, ttl)
	}
	h = append(h, t.Local.AsSlice()...)
	h = append(h, t.Remote.AsSlice()...)
	h = append(h, 0, 0)
	h = binary.BigEndian.AppendUint16(h, cmp.Or(t.Port, DefaultPort))
	return append(h, 0, 0, 0, 0, 0x08, 0, 0, 0, 0, 0, 0, 0)
}
