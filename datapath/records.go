// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
)

// Kind is what a record is of.
type Kind string

// The kinds of records.
const (
	KindEndpoint Kind = "endpoint"
	KindNetwork  Kind = "network"
	KindPeer     Kind = "peer"
	KindRemote   Kind = "remote"
	KindUnderlay Kind = "underlay"
)

// Modes of endpoints and of the uplink.
const (
	ModeTCX = "tcx"
	ModeXDP = "xdp"

	EncapAuto = "auto" // what the probe of this host says

	XDPAuto = "auto" // on where the uplink's driver is native
	XDPOn   = "on"
	XDPOff  = "off"
)

// EndpointRecord is a container's end of a network: what was asked for, and
// what Control filled in. Of a record that is to be added, Name, VNI, NetNS
// and one of MAC and Addrs are needed.
type EndpointRecord struct {
	Name    string         `json:"name"`
	VNI     uint32         `json:"vni"`
	NetNS   string         `json:"netns"`            // path
	Ifname  string         `json:"ifname,omitempty"` // in the container; empty: eth0
	MAC     MAC            `json:"mac"`              // zero: made of VNI and first address
	Addrs   []netip.Prefix `json:"addrs,omitempty"`
	MTU     int            `json:"mtu,omitempty"`  // 0: of the network, or what the uplink carries less the outer headers
	Mode    string         `json:"mode,omitempty"` // tcx (empty) or xdp
	Trusted bool           `json:"trusted,omitempty"`
	Routes  []Route        `json:"routes,omitempty"`

	// Filled in.
	Ifindex    int    `json:"ifindex,omitempty"`    // of the host's end
	HostName   string `json:"hostName,omitempty"`   // of the host's end
	Generation uint64 `json:"generation,omitempty"` // the revision at which it was added
	Broken     string `json:"broken,omitempty"`     // why it forwards nothing; empty: it forwards
	NetNSID    string `json:"netnsID,omitempty"`    // which namespace NetNS named
}

// Route is a route of a container through its endpoint.
type Route struct {
	To  netip.Prefix `json:"to"`
	Via netip.Addr   `json:"via,omitzero"` // invalid: To is on the link
}

// NetworkRecord is one VNI. Broadcasts are off unless asked for: ARP and
// neighbour discovery are answered from the map.
type NetworkRecord struct {
	VNI       uint32    `json:"vni"`
	Broadcast Broadcast `json:"broadcast,omitzero"`
	MTU       int       `json:"mtu,omitempty"` // of its endpoints; 0: what the uplink carries
}

// PeerRecord is a remote VTEP.
type PeerRecord struct {
	IP   netip.Addr `json:"ip"`
	MTU  int        `json:"mtu,omitempty"` // of the path; 0: the uplink's
	Down bool       `json:"down,omitempty"`

	// Filled in.
	NextHop MAC    `json:"nextHop,omitzero"`
	Stale   bool   `json:"stale,omitempty"` // the next hop is not known: the kernel finds it, frame by frame
	PathMTU int    `json:"pathMTU,omitempty"`
	Problem string `json:"problem,omitempty"`
}

// RemoteRecord is an endpoint behind a peer: an entry of the FDB, and its
// neighbours.
type RemoteRecord struct {
	VNI   uint32       `json:"vni"`
	MAC   MAC          `json:"mac"`
	Addrs []netip.Addr `json:"addrs,omitempty"`
	Peer  netip.Addr   `json:"peer"`
}

// UnderlayRecord is this host's end of the tunnels.
type UnderlayRecord struct {
	Ifname string     `json:"ifname"`
	IPv4   netip.Addr `json:"ipv4,omitzero"` // neither: the uplink's first of each family
	IPv6   netip.Addr `json:"ipv6,omitzero"`
	Port   uint16     `json:"port,omitempty"` // 0: 4789
	Encap  string     `json:"encap,omitempty"`
	XDP    string     `json:"xdp,omitempty"`

	// Filled in.
	Auto    bool   `json:"auto,omitempty"`    // the addresses are the uplink's, and follow it
	Ifindex int    `json:"ifindex,omitempty"` // 0: the device is gone
	MTU     int    `json:"mtu,omitempty"`
	MAC     MAC    `json:"mac,omitzero"`
	GSO     int    `json:"gso,omitempty"`    // largest frame of many segments that it takes whole
	Using   string `json:"using,omitempty"`  // the encapsulation in use: bpf or kernel
	Tunnel  int    `json:"tunnel,omitempty"` // of kernel: its VXLAN device
	Native  bool   `json:"native,omitempty"` // XDP is in use
	NoXDP   string `json:"noXDP,omitempty"`  // why it is not, when that was left open
	Problem string `json:"problem,omitempty"`
}

// Event is one change of a record.
type Event struct {
	Revision uint64
	Kind     Kind
	Name     string // of the object, as errors name it
	Deleted  bool
	Reason   string // why, when nobody asked for it
	Record   any    // EndpointRecord, NetworkRecord, ... of Kind; of one deleted: what it was
	Err      error  // the last event of a watch that cannot go on
}

// Counter is what happened to frames.
type Counter struct {
	Endpoint  string // empty: the uplink
	Direction string // from, to
	Action    string
	Reason    string
	Packets   uint64
	Bytes     uint64
}

// Snapshot is all records at a revision: where a watch begins.
type Snapshot struct {
	Revision  uint64
	Underlay  *UnderlayRecord // nil: none
	Networks  []NetworkRecord
	Endpoints []EndpointRecord
	Peers     []PeerRecord
	Remotes   []RemoteRecord
}

// Status is how the control plane is.
type Status struct {
	Revision, Oldest                    uint64 // the newest change, and the oldest that a watch can begin after
	Endpoints, Networks, Peers, Remotes int
	Broken                              int    // endpoints that forward nothing
	StalePeers                          int    // peers whose next hop is not known
	Repaired                            uint64 // writes to maps and links that reconciling needed since the start
	Removed                             uint64 // endpoints whose container had gone without a word, since the start
	Lost                                uint64 // pairs that went while their endpoint was there, since the start
	Uplink                              string
	Encap                               string
	LastError                           string // of the last reconciling, empty: none
}

// What can be wrong with a call. ErrConflict, that two want one thing, is
// with State.
var (
	ErrInvalid   = errors.New("invalid")
	ErrNotFound  = errors.New("not found")
	ErrInUse     = errors.New("in use")
	ErrCompacted = errors.New("changes are no longer kept: list again, and watch from there")
	ErrClosed    = errors.New("closed")
)

// ObjectError is an error of a call, with the object that it was about, who
// is in the way, and what helps.
type ObjectError struct {
	Verb   string // add, delete, set
	Kind   Kind
	Name   string
	Err    error  // wraps ErrConflict, ErrInvalid, ErrNotFound, ErrInUse, or is the kernel's
	Owner  string // the object that has what was asked for, empty: nobody
	Remedy string
}

func (e *ObjectError) Error() string {
	s := fmt.Sprintf("%s %s %s: %v", e.Verb, e.Kind, e.Name, e.Err)
	if e.Owner != "" {
		s += ": it is " + e.Owner + "'s"
	}
	if e.Remedy != "" {
		s += " (" + e.Remedy + ")"
	}
	return s
}

func (e *ObjectError) Unwrap() error { return e.Err }

// ParseMAC reads an Ethernet address.
func ParseMAC(s string) (MAC, error) {
	hw, err := net.ParseMAC(s)
	if err != nil || len(hw) != 6 {
		return MAC{}, fmt.Errorf("parse MAC %q: %w: six bytes in hex, with colons", s, ErrInvalid)
	}
	return MAC(hw), nil
}

// MarshalText makes a MAC readable in JSON.
func (m MAC) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (m *MAC) UnmarshalText(text []byte) (err error) {
	*m, err = ParseMAC(string(text))
	return err
}

// Title is how errors and events name the object of a record.
func (r EndpointRecord) Title() string { return r.Name }

// Title is how errors and events name the object of a record.
func (r NetworkRecord) Title() string { return fmt.Sprint(r.VNI) }

// Title is how errors and events name the object of a record.
func (r PeerRecord) Title() string { return r.IP.String() }

// Title is how errors and events name the object of a record.
func (r RemoteRecord) Title() string { return fmt.Sprintf("%d/%v", r.VNI, r.MAC) }

// Title is how errors and events name the object of a record.
func (r UnderlayRecord) Title() string { return r.Ifname }
