// SPDX-License-Identifier: Apache-2.0

package veth

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/safchain/ethtool"
	"github.com/vishvananda/netlink"
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
	GSO                int // largest frame of many segments that it takes whole, MostGSO at most
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
		TxQueues: a.NumTxQueues, RxQueues: a.NumRxQueues, Driver: driver(name), GSO: gsoOf(a)}
	u.NativeXDP = native[u.Driver]
	copy(u.MAC[:], a.HardwareAddr)
	addrs, err := whole(func() ([]netlink.Addr, error) { return h.AddrList(link, netlink.FAMILY_ALL) })
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
