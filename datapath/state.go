// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"errors"
	"fmt"
	"net/netip"
)

// MAC is an Ethernet address. It is an array so that it can be a key.
type MAC [6]byte

func (m MAC) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// State is all that the data plane has to do.
type State struct {
	Underlay  Underlay
	Networks  []Network
	Endpoints []Endpoint
	Peers     []Peer
	Remotes   []Remote
}

// Underlay is this host's end of the tunnels. Its zero value has none.
type Underlay struct {
	Ifindex int        // of the uplink; 0: no uplink
	IPv4    netip.Addr // of this VTEP; invalid: none
	IPv6    netip.Addr
	Port    uint16 // 0: 4789
	XDP     bool   // the uplink's driver runs XDP programs and sends XDP frames
	Encap   string // who writes and reads outer headers
	Tunnel  int    // EncapKernel: ifindex of a VXLAN device that takes them from beside the frame (collect metadata)
}

// Who writes and reads outer headers: what a host can do, Probe says.
const (
	EncapBPF    = "bpf"    // the programs; what "" is too
	EncapKernel = "kernel" // the kernel's VXLAN device
)

// Network is one VNI.
type Network struct {
	VNI       uint32
	Broadcast Broadcast
}

// Broadcast says whether frames for all are copied to all, and how many of
// one sender. Its zero value is: not at all.
type Broadcast struct {
	On        bool
	PerSecond int // 0: unlimited
	Burst     int // 0: 1
}

// Endpoint is a container's end of a network on this host.
type Endpoint struct {
	Ifindex int // of the host's end of its pair; it also names the endpoint in counters
	VNI     uint32
	MAC     MAC
	Addrs   []netip.Addr // all that it may send from; the first of each family is looked at first
	MTU     int          // 0: not checked
	XDP     bool         // its pair is set up for XDP
	Trusted bool         // may send from any address
}

// Peer is a remote VTEP.
type Peer struct {
	IP      netip.Addr
	NextHop MAC // where the underlay sends it
	Local   MAC // the uplink's
	MTU     int // of the path; 0: not checked
	Down    bool
	Stale   bool // NextHop is old: let the kernel find it
}

// Remote is an endpoint behind a peer.
type Remote struct {
	VNI   uint32
	MAC   MAC
	Addrs []netip.Addr
	Peer  netip.Addr
}

// Delta is what changes in a State. What Put has replaces what there is under
// the same name: a network's VNI, an endpoint's Ifindex, a peer's IP, a
// remote's VNI and MAC. To delete what is absent is a success.
type Delta struct {
	Put             State
	HasUnderlay     bool // Put.Underlay replaces the Underlay
	DeleteEndpoints []int
	DeleteRemotes   []RemoteKey
	DeletePeers     []netip.Addr
	DeleteNetworks  []uint32
}

// RemoteKey names a Remote.
type RemoteKey struct {
	VNI uint32
	MAC MAC
}

// ErrConflict is what two parts of a State are that cannot both be.
var ErrConflict = errors.New("two owners")
