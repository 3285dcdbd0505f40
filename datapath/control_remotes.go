// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
)

// remotes are those that there are, as small as they can be had: of nothing
// else may there be a million.
type remotes struct {
	packed map[RemoteKey]string
	in     map[uint32]int     // network -> how many
	behind map[netip.Addr]int // peer -> how many
}

func newRemotes() remotes {
	return remotes{packed: map[RemoteKey]string{}, in: map[uint32]int{}, behind: map[netip.Addr]int{}}
}

// key names a remote in records and State alike.
func (r RemoteRecord) key() RemoteKey { return RemoteKey{r.VNI, r.MAC} }

// pack is what a record is besides its key, in memory and in the store: the
// peer's address and then its own, each with its length before it.
func (r RemoteRecord) pack() []byte {
	b := make([]byte, 0, 17*(1+len(r.Addrs)))
	for _, ip := range append([]netip.Addr{r.Peer}, r.Addrs...) {
		s := ip.AsSlice()
		b = append(append(b, byte(len(s))), s...)
	}
	return b
}

func unpack(k RemoteKey, packed string) (RemoteRecord, error) {
	r := RemoteRecord{VNI: k.VNI, MAC: k.MAC}
	for first := true; packed != ""; first = false {
		n := int(packed[0])
		if len(packed) <= n {
			return r, fmt.Errorf("record of remote %s: it ends too early", r.Title())
		}
		ip, ok := netip.AddrFromSlice([]byte(packed[1 : 1+n]))
		if !ok {
			return r, fmt.Errorf("record of remote %s: an address of %d bytes", r.Title(), n)
		}
		if packed = packed[1+n:]; first {
			r.Peer = ip
		} else {
			r.Addrs = append(r.Addrs, ip)
		}
	}
	return r, nil
}

// text is a key in the store, in the order of network and MAC.
func (k RemoteKey) text() string {
	return string(append(binary.BigEndian.AppendUint32(nil, k.VNI), k.MAC[:]...))
}

func remoteKey(text string) (k RemoteKey, err error) {
	if len(text) != 10 {
		return k, fmt.Errorf("record of a remote: its key has %d bytes", len(text))
	}
	return RemoteKey{binary.BigEndian.Uint32([]byte(text)), MAC([]byte(text[4:]))}, nil
}

func (t remotes) get(k RemoteKey) (RemoteRecord, bool) {
	packed, known := t.packed[k]
	if !known {
		return RemoteRecord{}, false
	}
	r, err := unpack(k, packed)
	return r, err == nil
}

func (t remotes) put(r RemoteRecord) {
	t.drop(r.key())
	t.packed[r.key()] = string(r.pack())
	t.in[r.VNI]++
	t.behind[r.Peer]++
}

func (t remotes) drop(k RemoteKey) {
	r, known := t.get(k)
	if !known {
		return
	}
	delete(t.packed, k)
	if t.in[k.VNI]--; t.in[k.VNI] == 0 {
		delete(t.in, k.VNI)
	}
	if t.behind[r.Peer]--; t.behind[r.Peer] == 0 {
		delete(t.behind, r.Peer)
	}
}

// find returns one for which fits is true.
func (t remotes) find(fits func(RemoteRecord) bool) (r RemoteRecord) {
	for k := range t.packed {
		if r, _ = t.get(k); fits(r) {
			return r
		}
	}
	return r
}

func (t remotes) list() []RemoteRecord {
	list := make([]RemoteRecord, 0, len(t.packed))
	for k := range t.packed {
		r, _ := t.get(k)
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b RemoteRecord) int {
		return cmp.Or(cmp.Compare(a.VNI, b.VNI), bytes.Compare(a.MAC[:], b.MAC[:]))
	})
	return list
}
