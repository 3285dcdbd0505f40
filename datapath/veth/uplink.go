// SPDX-License-Identifier: Apache-2.0

package veth

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"github.com/safchain/ethtool"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Uplink is a device towards other hosts.
type Uplink struct {
	Ifindex            int
	Name               string
	MAC                [6]byte
	MTU                int
	Addrs              []netip.Prefix
	Up                 bool
	Driver             string
	NativeXDP          bool // its driver runs XDP programs
	TxQueues, RxQueues int
}

// UplinkOf describes a device.
func UplinkOf(name string) (Uplink, error) {
	u, err := uplinkOf(name)
	if err != nil {
		return Uplink{}, fmt.Errorf("read device %s: %w", name, err)
	}
	return u, nil
}

func uplinkOf(name string) (u Uplink, err error) {
	h, err := dial(nil)
	if err != nil {
		return u, err
	}
	defer h.Close()
	link, err := h.LinkByName(name)
	if err != nil {
		return u, notFound(err)
	}
	a := link.Attrs()
	u = Uplink{Ifindex: a.Index, Name: a.Name, MTU: a.MTU, Up: a.Flags&net.FlagUp != 0,
		TxQueues: a.NumTxQueues, RxQueues: a.NumRxQueues, Driver: driver(name)}
	u.NativeXDP = native[u.Driver]
	copy(u.MAC[:], a.HardwareAddr)
	addrs, err := h.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return u, fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range addrs {
		u.Addrs = append(u.Addrs, prefix(a.IPNet))
	}
	return u, nil
}

func prefix(n *net.IPNet) netip.Prefix {
	ip, _ := netip.AddrFromSlice(n.IP)
	bits, _ := n.Mask.Size()
	return netip.PrefixFrom(ip.Unmap(), bits)
}

// driver is the name of a device's driver, or nothing.
func driver(name string) string {
	e, err := ethtool.NewEthtool()
	if err != nil {
		return ""
	}
	defer e.Close()
	d, err := e.DriverName(name)
	if err != nil {
		return ""
	}
	return d
}

// native are drivers that run XDP programs and send XDP frames.
var native = map[string]bool{"veth": true, "virtio_net": true, "tun": true, "ixgbe": true, "ixgbevf": true, "i40e": true, "ice": true,
	"igb": true, "igc": true, "mlx4_en": true, "mlx5_core": true, "bnxt_en": true, "ena": true, "hv_netvsc": true, "mvneta": true,
	"nfp": true, "qede": true, "thunder-nicvf": true, "gve": true, "sfc": true, "atlantic": true, "stmmaceth": true}

// Hop is how the underlay reaches an address.
type Hop struct {
	Ifindex int
	Local   [6]byte // the device's MAC
	Remote  [6]byte // the next hop's MAC
	Src     netip.Addr
	MTU     int // of the way
}

// Resolve asks the kernel for the way to an address, and the network for the
// next hop's MAC when the kernel does not know it.
func Resolve(ctx context.Context, ip netip.Addr) (Hop, error) {
	hop, err := resolve(ctx, ip)
	if err != nil {
		return Hop{}, fmt.Errorf("resolve %v: %w", ip, err)
	}
	return hop, nil
}

func resolve(ctx context.Context, ip netip.Addr) (hop Hop, err error) {
	h, err := dial(nil)
	if err != nil {
		return hop, err
	}
	defer h.Close()
	routes, err := h.RouteGet(ip.AsSlice())
	if err != nil || len(routes) == 0 {
		return hop, fmt.Errorf("find route: %w", err)
	}
	r := routes[0]
	link, err := h.LinkByIndex(r.LinkIndex)
	if err != nil {
		return hop, fmt.Errorf("find device %d: %w", r.LinkIndex, notFound(err))
	}
	if link.Attrs().EncapType != "ether" {
		return hop, fmt.Errorf("the way is through %s, which is no Ethernet device (%s)", link.Attrs().Name, link.Attrs().EncapType)
	}
	hop = Hop{Ifindex: r.LinkIndex, MTU: link.Attrs().MTU}
	copy(hop.Local[:], link.Attrs().HardwareAddr)
	if r.MTU > 0 {
		hop.MTU = r.MTU
	}
	hop.Src, _ = netip.AddrFromSlice(r.Src)
	hop.Src = hop.Src.Unmap()
	next := ip
	if r.Gw != nil {
		next, _ = netip.AddrFromSlice(r.Gw)
	}
	hop.Remote, err = neighbour(ctx, h, netlink.Neigh{LinkIndex: r.LinkIndex, IP: next.Unmap().AsSlice()})
	return hop, err
}

const known = unix.NUD_REACHABLE | unix.NUD_STALE | unix.NUD_DELAY | unix.NUD_PROBE | unix.NUD_PERMANENT | unix.NUD_NOARP
