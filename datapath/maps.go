// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"foundry/bpf"
)

// ErrFull is what a call fails with whose State has no room in the maps.
// Nothing is evicted to make room.
var ErrFull = errors.New("full")

// table is a map of the kernel and how it is compared and written.
type table[K, V comparable] struct {
	name    string
	size    int    // how many entries there is room for
	entries int    // how many there are, after the first Set
	remedy  string // when it is full
	order   func(a, b K) int
	rows    rows[K, V]
}

// rows are the entries of a map.
type rows[K, V comparable] interface {
	each(func(K, V)) error
	get(K) (V, bool, error)
	put([]K, []V) (done int, err error)
	remove([]K) (done int, err error) // absent is success
}

// batch is how many entries are given to the kernel at once: enough that the
// call costs nothing beside them, and few enough not to matter in memory.
const batch = 4096

// put writes the values that keys have in from.
func (t *table[K, V]) put(keys []K, from map[K]V) (int, error) {
	for done := 0; done < len(keys); {
		part := keys[done:min(done+batch, len(keys))]
		values := make([]V, len(part))
		for i, k := range part {
			values[i] = from[k]
		}
		n, err := t.rows.put(part, values)
		done += n
		if errors.Is(err, unix.E2BIG) {
			err = t.full(t.size + 1)
		}
		if err != nil {
			return done, err
		}
	}
	return len(keys), nil
}

func (t *table[K, V]) full(wanted int) error {
	return fmt.Errorf("map %s is %w: it has room for %d entries, wanted are %d: %s", t.name, ErrFull, t.size, wanted, t.remedy)
}

// plain is a map whose entries are what we write.
type plain[K, V comparable] struct{ *ebpf.Map }

func (m plain[K, V]) each(fn func(K, V)) error {
	keys, values := make([]K, batch), make([]V, batch)
	var cursor ebpf.MapBatchCursor
	for {
		n, err := m.BatchLookup(&cursor, keys, values, nil)
		if errors.Is(err, ebpf.ErrNotSupported) {
			return m.eachOne(fn)
		}
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("read %v: %w", m.Map, err)
		}
		for i := range n {
			fn(keys[i], values[i])
		}
		if err != nil {
			return nil // that was the last batch
		}
	}
}

func (m plain[K, V]) eachOne(fn func(K, V)) error {
	var k K
	var v V
	it := m.Iterate()
	for it.Next(&k, &v) {
		fn(k, v)
	}
	if err := it.Err(); err != nil {
		return fmt.Errorf("read %v: %w", m.Map, err)
	}
	return nil
}

func (m plain[K, V]) get(k K) (v V, ok bool, err error) {
	err = m.Lookup(&k, &v)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return v, false, nil
	}
	if err != nil {
		return v, false, fmt.Errorf("read %v: %w", m.Map, err)
	}
	return v, true, nil
}

func (m plain[K, V]) put(keys []K, values []V) (int, error) {
	const few = 4
	if len(keys) > few {
		n, err := m.BatchUpdate(keys, values, nil)
		if !errors.Is(err, ebpf.ErrNotSupported) {
			return n, err
		}
	}
	for i := range keys {
		if err := m.Put(&keys[i], &values[i]); err != nil {
			return i, err
		}
	}
	return len(keys), nil
}

func (m plain[K, V]) remove(keys []K) (int, error) { return removeEach(m.Map, keys) }

func removeEach[K any](m *ebpf.Map, keys []K) (int, error) {
	for i := range keys {
		if err := m.Delete(&keys[i]); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return i, err
		}
	}
	return len(keys), nil
}

// devices: of a device map only the keys count; the kernel answers with
// numbers of this namespace.
type devices plain[uint32, bpf.TCBpfDevmapVal]

func (m devices) each(fn func(uint32, struct{})) error {
	return plain[uint32, bpf.TCBpfDevmapVal](m).eachOne(func(k uint32, _ bpf.TCBpfDevmapVal) { fn(k, struct{}{}) })
}

func (m devices) get(k uint32) (struct{}, bool, error) {
	_, ok, err := plain[uint32, bpf.TCBpfDevmapVal](m).get(k)
	return struct{}{}, ok, err
}

func (m devices) put(keys []uint32, _ []struct{}) (int, error) {
	for i, k := range keys {
		if err := m.Put(k, &bpf.TCBpfDevmapVal{Ifindex: k}); err != nil {
			return i, err
		}
	}
	return len(keys), nil
}

func (m devices) remove(keys []uint32) (int, error) { return removeEach(m.Map, keys) }

// receiverList is a list of receivers as it can be compared.
type receiverList string

func packReceivers(list []bpf.Receiver) receiverList {
	b, _ := binary.Append(nil, binary.NativeEndian, list) // fails for types without a size only
	return receiverList(b)
}

func (l receiverList) unpack() ([]bpf.Receiver, error) {
	list := make([]bpf.Receiver, len(l)/binary.Size(bpf.Receiver{}))
	return list, binary.Read(bytes.NewReader([]byte(l)), binary.NativeEndian, list)
}

// lists: who gets broadcasts is a map of its own for each network, exchanged
// as a whole.
type lists plain[uint32, uint32]

func (m lists) each(fn func(uint32, receiverList)) error {
	var first error
	err := plain[uint32, uint32](m).eachOne(func(vni, id uint32) {
		list, err := readList(ebpf.MapID(id))
		first = cmp.Or(first, err)
		fn(vni, list)
	})
	return cmp.Or(err, first)
}

func (m lists) get(vni uint32) (receiverList, bool, error) {
	id, ok, err := plain[uint32, uint32](m).get(vni)
	if err != nil || !ok {
		return "", false, err
	}
	list, err := readList(ebpf.MapID(id))
	return list, err == nil, err
}

func (m lists) put(vnis []uint32, values []receiverList) (int, error) {
	for i, vni := range vnis {
		if err := m.putOne(vni, values[i]); err != nil {
			return i, err
		}
	}
	return len(vnis), nil
}

func (m lists) putOne(vni uint32, value receiverList) error {
	list, err := value.unpack()
	if err != nil {
		return err
	}
	inner, err := bpf.NewReceivers(list)
	if err != nil {
		return err
	}
	defer inner.Close()
	return m.Put(vni, uint32(inner.FD()))
}

func (m lists) remove(keys []uint32) (int, error) { return removeEach(m.Map, keys) }

func readList(id ebpf.MapID) (receiverList, error) {
	inner, err := ebpf.NewMapFromID(id)
	if err != nil {
		return "", fmt.Errorf("read list of receivers: %w", err)
	}
	defer inner.Close()
	list := make([]bpf.Receiver, inner.MaxEntries())
	for i := range list {
		if err := inner.Lookup(uint32(i), &list[i]); err != nil {
			return "", fmt.Errorf("read list of receivers: %w", err)
		}
	}
	return packReceivers(list), nil
}
