// SPDX-License-Identifier: Apache-2.0

package veth

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
)

// Config says what a pair is to be. All but Name and NS may be left out.
type Config struct {
	Name   string  // of the host's end
	Host   *NS     // of the host's end; nil: the caller's
	NS     *NS     // of the container
	Peer   string  // name of the container's end; "": eth0
	MAC    [6]byte // of the container's end; zero: any
	MTU    int     // of both ends; 0: 1500
	Addrs  []netip.Prefix
	Routes []Route
	Queues int  // of each end, each way; 0: one, or one per CPU with XDP
	XDP    bool // the container's end is to be sent XDP frames, the host's is to have a program
	// NoFrags: that program cannot take frames of several pieces, which
	// limits the MTU.
	NoFrags bool
	// GSO is the largest frame of many segments that the container may send;
	// 0: 64 KiB. More, up to MostGSO, is for ways that take it whole.
	GSO int
}

// Route is a route of the container through its end of the pair.
type Route struct {
	To  netip.Prefix
	Via netip.Addr // invalid: To is on the link
	MTU int        // 0: the device's
}

// Pair is a pair of devices.
type Pair struct {
	Name        string // host's end
	Ifindex     int    // host's end
	PeerIfindex int    // container's end, in its namespace
	MAC         [6]byte
}

// Errors that callers look for.
var (
	ErrExists   = errors.New("name is taken")
	ErrNotFound = errors.New("no such device")
)

const (
	defaultPeer = "eth0"
	defaultMTU  = 1500
	maxName     = 15 // IFNAMSIZ with its zero
)

// complete checks c and fills in what was left out.
func (c Config) complete() (Config, error) {
	if c.Peer == "" {
		c.Peer = defaultPeer
	}
	if c.MTU == 0 {
		c.MTU = defaultMTU
	}
	if c.Queues == 0 {
		c.Queues = 1
		if c.XDP {
			c.Queues = runtime.NumCPU()
		}
	}
	return c, c.check()
}

func (c Config) check() error {
	for _, name := range []string{c.Name, c.Peer} {
		if name == "" || name == "." || name == ".." || len(name) > maxName || strings.ContainsAny(name, "/:% \t\n\x00") {
			return fmt.Errorf("%q is no name of a device: 1 to %d characters, no slash, colon, percent sign or space", name, maxName)
		}
	}
	if c.NS == nil {
		return errors.New("the container has no network namespace")
	}
	if c.MTU < 68 || c.MTU > 65535 {
		return fmt.Errorf("MTU %d is not between 68 and 65535", c.MTU)
	}
	if limit := maxFrame(); c.XDP && c.NoFrags && c.MTU > limit {
		return fmt.Errorf("MTU %d: an XDP program without fragments takes %d at most: use one with fragments, or mode tcx", c.MTU, limit)
	}
	if c.MAC[0]&1 != 0 {
		return fmt.Errorf("MAC %v is a group's", net.HardwareAddr(c.MAC[:]))
	}
	if c.Queues < 0 {
		return fmt.Errorf("%d queues", c.Queues)
	}
	for _, a := range c.Addrs {
		if !a.IsValid() || a.Addr().Zone() != "" || a.Addr().IsUnspecified() || a.Addr().IsMulticast() {
			return fmt.Errorf("%v is no address of a device", a)
		}
		if a.Addr().Is6() && c.MTU < 1280 {
			return fmt.Errorf("address %v: IPv6 needs an MTU of 1280, not %d", a, c.MTU)
		}
	}
	for _, r := range c.Routes {
		if !r.To.IsValid() || r.Via.IsValid() && r.Via.Is4() != r.To.Addr().Is4() {
			return fmt.Errorf("route to %v via %v: not of one family", r.To, r.Via)
		}
	}
	return nil
}

// maxFrame is the MTU up to which a frame is in one piece: a page without the
// headroom of XDP, the end of the buffer (struct skb_shared_info, in whole
// cache lines) and the Ethernet header. The kernel's own limit may be a few
// bytes higher.
func maxFrame() int { return os.Getpagesize() - 256 - 320 - 14 }
