// SPDX-License-Identifier: Apache-2.0

package net

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"foundry/bpf"
	"foundry/datapath"
	"foundry/datapath/veth"
)

// place says which container of which network. Two of one number in two
// networks have the same addresses and the same MAC.
type place struct {
	vni uint32
	n   int
	mtu int // 0: what the wire leaves
	xdp bool
}

// container is a network namespace with an eth0.
type container struct {
	place
	h       *host
	ns      *veth.NS
	name    string // of the host's end
	ifindex int    // of the host's end
	peer    int    // ifindex of eth0, where it matters
	mtu     int    // the place's, or what it became
	mac     datapath.MAC
	ip4     netip.Addr
	ip6     netip.Addr
}

func (c *container) String() string { return fmt.Sprintf("%d/%d on %s", c.vni, c.n, c.h.name) }

func (c *container) addrs() []netip.Addr { return []netip.Addr{c.ip4, c.ip6} }

func (c *container) endpoint() datapath.Endpoint {
	return datapath.Endpoint{Ifindex: c.ifindex, VNI: c.vni, MAC: c.mac, Addrs: c.addrs(), MTU: c.mtu, XDP: c.xdp}
}

// container makes one and tells all hosts.
func (h *host) container(p place) *container {
	h.f.Helper()
	if h.control != nil {
		c := h.plan(p)
		c.announce()
		h.containers = append(h.containers, c)
		return c
	}
	c := h.bare(p)
	h.containers = append(h.containers, c)
	h.f.sync()
	return c
}

// bare makes a container of which no data plane knows.
func (h *host) bare(p place) *container {
	h.f.Helper()
	c := h.plan(p)
	c.mtu = cmp.Or(p.mtu, h.f.inside())
	pair, err := veth.Create(c.config())
	if err != nil {
		h.f.Fatal(err)
	}
	c.ifindex = pair.Ifindex
	return c
}

// plan is a container without an eth0.
func (h *host) plan(p place) *container {
	h.f.Helper()
	c := &container{place: p, h: h, ns: newNS(h.f.T), name: fmt.Sprintf("ep%d-%d", p.vni, p.n)}
	c.mac = datapath.MAC{2, 0, 0, byte(p.n >> 16), byte(p.n >> 8), byte(p.n)}
	c.ip4 = netip.AddrFrom4([4]byte{10, byte(p.n >> 16), byte(p.n >> 8), byte(p.n)})
	c.ip6 = netip.AddrFrom16([16]byte{0xfd, 13: byte(p.n >> 16), 14: byte(p.n >> 8), 15: byte(p.n)})
	return c
}

func (c *container) prefixes() []netip.Prefix {
	return []netip.Prefix{netip.PrefixFrom(c.ip4, 8), netip.PrefixFrom(c.ip6, 64)}
}

func (c *container) config() veth.Config {
	return veth.Config{Name: c.name, Host: c.h.ns, NS: c.ns, MAC: c.mac, MTU: c.mtu, XDP: c.xdp,
		Addrs: c.prefixes()}
}

// inside is how much of the wire's MTU is left for containers.
func (f *fabric) inside() int {
	switch {
	case len(f.hosts) == 1:
		return f.mtu
	case f.v6:
		return f.mtu - bpf.Overhead6
	}
	return f.mtu - bpf.Overhead4
}

// remove takes a container away, after all hosts have been told.
func (c *container) remove() {
	c.h.f.Helper()
	c.h.containers = slices.DeleteFunc(c.h.containers, func(other *container) bool { return other == c })
	if c.h.control != nil {
		c.forget()
	} else {
		c.h.f.sync()
		if err := c.h.ns.Do(func() error { return veth.Delete(c.name) }); err != nil {
			c.h.f.Fatal(err)
		}
	}
	if err := c.ns.Close(); err != nil {
		c.h.f.Fatal(err)
	}
}

// What ethtool sets (linux/ethtool.h).
const (
	txChecksum = 0x17
	gro        = 0x2c
)

// offload turns an offload of a device on or off.
func offload(t *testing.T, ns *veth.NS, device string, command uint32, on bool) {
	t.Helper()
	err := ns.Do(func() error {
		s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		if err != nil {
			return err
		}
		defer unix.Close(s)
		setting := struct{ command, value uint32 }{command: command}
		if on {
			setting.value = 1
		}
		request := struct {
			name [unix.IFNAMSIZ]byte
			data unsafe.Pointer
			_    [16]byte
		}{data: unsafe.Pointer(&setting)}
		copy(request.name[:], device)
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(s), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request))); errno != 0 {
			return errno
		}
		return nil
	})
	if err != nil {
		t.Fatalf("set offload %#x of %s: %v", command, device, err)
	}
}
