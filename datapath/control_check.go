// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"foundry/bpf"
)

const (
	maxVNI     = 1<<24 - 1
	maxIfname  = 15    // IFNAMSIZ with its zero
	maxMTU     = 65535 // of a pair
	minMTU4    = 68    // RFC 791
	minMTU6    = 1280  // RFC 8200
	defaultMTU = 1500
	maxName    = 255 // of an endpoint
)

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}

func checkVNI(vni uint32) error {
	if vni > maxVNI {
		return invalid("VNI %d is not between 0 and %d", vni, maxVNI)
	}
	return nil
}

func checkMAC(m MAC) error {
	if m[0]&1 != 0 {
		return invalid("MAC %v is a group's: the lowest bit of its first byte is set", m)
	}
	if m == (MAC{}) {
		return invalid("MAC %v is nobody's", m)
	}
	return nil
}

func checkIfname(name string) error {
	if name == "" || name == "." || name == ".." || len(name) > maxIfname || strings.ContainsAny(name, "/:% \t\n\x00") {
		return invalid("%q is no name of a device: 1 to %d characters, no slash, colon, percent sign or space", name, maxIfname)
	}
	if name == "all" || name == "default" {
		return invalid("%q is no name of a device: the kernel's settings of all devices are called that", name)
	}
	return nil
}

// checkAddr: an address that a host may have in a network.
func checkAddr(ip netip.Addr) error {
	switch {
	case !ip.IsValid():
		return invalid("an address is missing")
	case ip.Zone() != "":
		return invalid("address %v has a zone", ip)
	case ip.Is4In6():
		return invalid("address %v is of IPv4: write it as %v", ip, ip.Unmap())
	case ip.IsUnspecified(), ip.IsMulticast(), ip.IsLoopback(), ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return invalid("address %v is not one of a host", ip)
	}
	return nil
}

func checkAddrs(addrs []netip.Addr) error {
	for i, ip := range addrs {
		if err := checkAddr(ip); err != nil {
			return err
		}
		if slices.Contains(addrs[:i], ip) {
			return invalid("address %v is there twice", ip)
		}
	}
	return nil
}

// complete checks an endpoint in itself, and fills in what does not depend on
// anything else.
func (r EndpointRecord) complete() (EndpointRecord, error) {
	r.Ifname, r.Mode = cmp.Or(r.Ifname, "eth0"), cmp.Or(r.Mode, ModeTCX)
	r.Ifindex, r.HostName, r.Generation, r.Broken, r.NetNSID = 0, "", 0, "", ""
	if r.MAC == (MAC{}) && len(r.Addrs) > 0 {
		r.MAC = macOf(r.VNI, r.Addrs[0].Addr())
	}
	return r, r.check()
}

func (r EndpointRecord) check() error {
	switch {
	case r.Name == "" || len(r.Name) > maxName || strings.ContainsFunc(r.Name, func(c rune) bool { return c <= ' ' || c == 0x7f }):
		return invalid("%q is no name of an endpoint: 1 to %d bytes, no space", r.Name, maxName)
	case !strings.HasPrefix(r.NetNS, "/"):
		return invalid("network namespace %q is no absolute path", r.NetNS)
	case r.Mode != ModeTCX && r.Mode != ModeXDP:
		return invalid("mode %q is neither %s nor %s", r.Mode, ModeTCX, ModeXDP)
	case r.MAC == (MAC{}):
		return invalid("it has neither MAC nor address: one can be made of the other, but not of nothing")
	case r.MTU < 0:
		return invalid("MTU %d", r.MTU)
	}
	if err := cmp.Or(checkVNI(r.VNI), checkMAC(r.MAC), checkIfname(r.Ifname), checkAddrs(r.ips())); err != nil {
		return err
	}
	return r.checkRoutes()
}

func (r EndpointRecord) checkRoutes() error {
	for _, route := range r.Routes {
		if !route.To.IsValid() || route.Via.IsValid() && route.Via.Is4() != route.To.Addr().Is4() {
			return invalid("route to %v via %v is not of one family", route.To, route.Via)
		}
		onLink := func(p netip.Prefix) bool { return p.Contains(route.Via) }
		if route.Via.IsValid() && !slices.ContainsFunc(r.Addrs, onLink) {
			return invalid("route to %v via %v: none of the addresses %v is in a network with it", route.To, route.Via, r.Addrs)
		}
	}
	return nil
}

// macOf makes a MAC that is the same whenever the address is, so that nobody
// has a neighbour entry that is no longer true: locally administered, of one.
func macOf(vni uint32, ip netip.Addr) MAC {
	sum := sha256.Sum256(append(binary.BigEndian.AppendUint32(nil, vni), ip.AsSlice()...))
	m := MAC(sum[:6])
	m[0] = m[0]&^3 | 2
	return m
}

// checkMTU says whether an endpoint's MTU is one that its addresses and the
// underlay allow; 0 is the largest that the underlay carries.
func (h *records) mtu(r EndpointRecord) (int, error) {
	carried, why := h.carried()
	mtu := cmp.Or(r.MTU, h.networks[r.VNI].MTU, carried, defaultMTU)
	least, family := minMTU4, "IPv4"
	if slices.ContainsFunc(r.Addrs, func(p netip.Prefix) bool { return p.Addr().Is6() }) {
		least, family = minMTU6, "IPv6"
	}
	switch {
	case carried > 0 && mtu > carried:
		return 0, invalid("MTU %d is more than the %d that tunnels carry: %s", mtu, carried, why)
	case mtu > maxMTU:
		return 0, invalid("MTU %d is more than %d", mtu, maxMTU)
	case mtu < least:
		return 0, invalid("MTU %d is less than the %d that %s needs", mtu, least, family)
	}
	return mtu, nil
}

// carried is what fits into the underlay besides outer headers; 0: there is none.
func (h *records) carried() (int, string) {
	u := h.underlay
	if u == nil || u.MTU == 0 {
		return 0, ""
	}
	overhead := bpf.Overhead4
	if u.IPv6.IsValid() {
		overhead = bpf.Overhead6
	}
	return u.MTU - overhead, fmt.Sprintf("%s has %d, outer headers take %d", u.Ifname, u.MTU, overhead)
}

func (n NetworkRecord) check(h *records) error {
	if err := checkVNI(n.VNI); err != nil {
		return err
	}
	if n.Broadcast.PerSecond < 0 || n.Broadcast.Burst < 0 {
		return invalid("broadcasts: %d per second, %d at once", n.Broadcast.PerSecond, n.Broadcast.Burst)
	}
	if n.MTU == 0 {
		return nil
	}
	_, err := h.mtu(EndpointRecord{VNI: n.VNI, MTU: n.MTU})
	return err
}

func (p PeerRecord) check(h *records) error {
	if err := checkAddr(p.IP); err != nil {
		return err
	}
	u := h.underlay
	if u == nil {
		return &ObjectError{Err: fmt.Errorf("underlay: %w", ErrNotFound), Remedy: "set the underlay first"}
	}
	local, family, overhead := u.IPv4, "IPv4", bpf.Overhead4
	if p.IP.Is6() {
		local, family, overhead = u.IPv6, "IPv6", bpf.Overhead6
	}
	if !local.IsValid() {
		return invalid("the underlay %s has no address of %s", u.Ifname, family)
	}
	if p.IP == local {
		return invalid("%v is this host's own address", p.IP)
	}
	if p.MTU != 0 && p.MTU < overhead+minMTU4 {
		return invalid("MTU %d leaves no room: outer headers take %d", p.MTU, overhead)
	}
	return nil
}

func (r RemoteRecord) check() error {
	return cmp.Or(checkVNI(r.VNI), checkMAC(r.MAC), checkAddrs(r.Addrs))
}
