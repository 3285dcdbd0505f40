// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"foundry/bpf"
)

// index is what is in force and cannot be had from the maps by one look-up.
// Of remotes, of which there may be a million, it has only what their entries
// in the maps do not say.
type index struct {
	underlay  Underlay
	networks  map[uint32]Network
	endpoints map[int]Endpoint
	peers     map[netip.Addr]peer
	vteps     map[uint32]netip.Addr
	local     map[uint32]map[int]bool   // VNI -> endpoints
	behind    map[uint32]map[uint32]int // VNI -> VTEP -> how many remotes
	remotes   map[uint32]int            // VTEP -> how many remotes
	addrs     addresses
}

type peer struct {
	Peer
	id uint32 // of the VTEP
}

func newIndex(remotes int) *index {
	return &index{networks: map[uint32]Network{}, endpoints: map[int]Endpoint{}, peers: map[netip.Addr]peer{},
		vteps: map[uint32]netip.Addr{}, local: map[uint32]map[int]bool{}, behind: map[uint32]map[uint32]int{}, remotes: map[uint32]int{},
		addrs: addresses{one: make(map[bpf.FdbKey][4]byte, remotes), more: map[bpf.FdbKey]string{}}}
}

// receivers lists who gets broadcasts: local endpoints and the VTEPs that
// somebody of the network is behind, each once, in the order of their numbers.
func (x *index) receivers(vni uint32) (list []bpf.Receiver) {
	if !x.networks[vni].Broadcast.On {
		return nil
	}
	for id := range x.behind[vni] {
		list = append(list, bpf.Receiver{Vtep: id})
	}
	for port := range x.local[vni] {
		list = append(list, bpf.Receiver{Ifindex: uint32(port), Endpoint: uint32(port)})
	}
	slices.SortFunc(list, func(a, b bpf.Receiver) int {
		return cmp.Or(cmp.Compare(a.Ifindex, b.Ifindex), cmp.Compare(a.Vtep, b.Vtep))
	})
	return list
}

// members says who is in a network; "" is nobody.
func (x *index) members(vni uint32) string {
	for port := range x.local[vni] {
		return fmt.Sprintf("endpoint %d is in it", port)
	}
	n := 0
	for _, remotes := range x.behind[vni] {
		n += remotes
	}
	if n > 0 {
		return fmt.Sprintf("%d remotes are in it", n)
	}
	return ""
}

// addresses are those of remotes, as small as they can be had: nearly all have
// one, of IPv4, or none.
type addresses struct {
	one  map[bpf.FdbKey][4]byte
	more map[bpf.FdbKey]string // each is its length and its bytes
}

func (a addresses) of(key bpf.FdbKey) (list []netip.Addr) {
	if b, ok := a.one[key]; ok {
		return []netip.Addr{netip.AddrFrom4(b)}
	}
	for s := a.more[key]; s != ""; s = s[1+s[0]:] {
		ip, _ := netip.AddrFromSlice([]byte(s[1 : 1+s[0]]))
		list = append(list, ip)
	}
	return list
}

func (a addresses) set(key bpf.FdbKey, list []netip.Addr) {
	delete(a.one, key)
	delete(a.more, key)
	switch {
	case len(list) == 0:
	case len(list) == 1 && list[0].Is4():
		a.one[key] = list[0].As4()
	default:
		var b []byte
		for _, ip := range list {
			s := ip.AsSlice()
			b = append(append(b, byte(len(s))), s...)
		}
		a.more[key] = string(b)
	}
}
