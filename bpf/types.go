// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// What is in the maps, under names without the prefix of the object that they
// were generated from; c/maps.h says what the fields mean.
type (
	Addr       = TCAddr
	Mac        = TCMac
	Endpoint   = TCEndpoint
	FdbKey     = TCFdbKey
	FdbEntry   = TCFdbEntry
	NeighKey   = TCNeighKey
	NeighEntry = TCNeighEntry
	VtepEntry  = TCVtepEntry
	VtepKey    = TCVtepKey
	VniEntry   = TCVniEntry
	Receiver   = TCReceiver
	Config     = TCConfig
	Count      = TCCount
	StatsKey   = TCStatsKey
	Event      = TCEvent
	Action     = TCAction
	Reason     = TCReason
)

// ABI is the layout of the maps; programs on the uplink pass everything when
// Config.Abi is another.
const ABI = 1

// ReasonSlots is how many reasons each action has in stats_total.
const ReasonSlots = 64

// AddrOf returns an address as the maps have it.
func AddrOf(ip netip.Addr) (a Addr) {
	b := ip.AsSlice()
	for i := 0; i+4 <= len(b); i += 4 {
		a.W[i/4] = binary.NativeEndian.Uint32(b[i:])
	}
	return a
}

// Netip returns the address of an entry, whose family is 4 or 6.
func (a TCAddr) Netip(family uint32) netip.Addr {
	var b [16]byte
	for i, w := range a.W {
		binary.NativeEndian.PutUint32(b[4*i:], w)
	}
	if family == 4 {
		return netip.AddrFrom4([4]byte(b[:4]))
	}
	return netip.AddrFrom16(b)
}

// NewReceivers makes the list of who gets the broadcasts of a VNI, to be put
// into the map bum; the caller closes it.
func NewReceivers(list []Receiver) (*ebpf.Map, error) {
	const innerMap = 1 << 12 // BPF_F_INNER_MAP: lists of one map differ in length
	m, err := ebpf.NewMap(&ebpf.MapSpec{Name: "receivers", Type: ebpf.Array, KeySize: 4, ValueSize: uint32(binary.Size(Receiver{})),
		MaxEntries: uint32(max(len(list), 1)), Flags: innerMap})
	if err != nil {
		return nil, fmt.Errorf("make list of receivers: %w", err)
	}
	for i := range list {
		if err := m.Put(uint32(i), &list[i]); err != nil {
			return nil, errors.Join(fmt.Errorf("fill list of receivers: %w", err), m.Close())
		}
	}
	return m, nil
}

// Family returns 4 or 6, as the keys of neighbours and VTEPs have it.
func Family(ip netip.Addr) uint32 {
	if ip.Is4() {
		return 4
	}
	return 6
}

// IPv4 returns an IPv4 address as Endpoint.Ip4 has it.
func IPv4(ip netip.Addr) uint32 { return AddrOf(ip).W[0] }

// Port returns a port in network byte order.
func Port(n uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], n)
	return binary.NativeEndian.Uint16(b[:])
}

// StatsSlot is where stats_total counts an action with a reason.
func StatsSlot(a Action, r Reason) uint32 { return uint32(a)*ReasonSlots + uint32(r) }

// Names are what the numbers in counters and events mean.
type Names struct {
	Actions map[Action]string
	Reasons map[Reason]string
}

// ReadNames takes the names from the type information of the programs, so
// that nobody writes them twice: "arp_reply" for REASON_ARP_REPLY.
func ReadNames(spec *ebpf.CollectionSpec) (Names, error) {
	n := Names{Actions: map[Action]string{}, Reasons: map[Reason]string{}}
	if err := enumNames(spec, "action", "ACT_", func(v uint64, name string) { n.Actions[Action(v)] = name }); err != nil {
		return n, err
	}
	return n, enumNames(spec, "reason", "REASON_", func(v uint64, name string) { n.Reasons[Reason(v)] = name })
}

func enumNames(spec *ebpf.CollectionSpec, enum, prefix string, add func(uint64, string)) error {
	var t *btf.Enum
	if err := spec.Types.TypeByName(enum, &t); err != nil {
		return fmt.Errorf("read names of %s: %w", enum, err)
	}
	for _, v := range t.Values {
		add(v.Value, strings.ToLower(strings.TrimPrefix(v.Name, prefix)))
	}
	return nil
}
