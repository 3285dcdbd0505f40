// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// recordKey is the key of a record in its bucket: kinds have no zero byte.
func recordKey(kind, key string) []byte {
	k := make([]byte, 0, len(kind)+1+len(key))
	k = append(k, kind...)
	k = append(k, 0)
	return append(k, key...)
}

func splitKey(k []byte) (kind, key string, err error) {
	a, b, found := bytes.Cut(k, []byte{0})
	if !found {
		return "", "", fmt.Errorf("key %q: %w", k, ErrCorrupt)
	}
	return string(a), string(b), nil
}

// A change in the log: a byte that says what it is, then kind, key, note and
// value, each with its length before it.
const (
	changePut    = 1
	changeDelete = 2
)

func encode(c *Change) []byte {
	b := make([]byte, 1, 1+4*binary.MaxVarintLen32+len(c.Kind)+len(c.Key)+len(c.Note)+len(c.Value))
	b[0] = changePut
	if c.Deleted {
		b[0] = changeDelete
	}
	for _, field := range []string{c.Kind, c.Key, c.Note} {
		b = binary.AppendUvarint(b, uint64(len(field)))
		b = append(b, field...)
	}
	b = binary.AppendUvarint(b, uint64(len(c.Value)))
	return append(b, c.Value...)
}

func decode(b []byte) (c Change, err error) {
	if len(b) == 0 || b[0] != changePut && b[0] != changeDelete {
		return c, fmt.Errorf("change %x: %w", b, ErrCorrupt)
	}
	c.Deleted = b[0] == changeDelete
	var fields [4][]byte
	rest := b[1:]
	for i := range fields {
		length, n := binary.Uvarint(rest)
		if n <= 0 || length > uint64(len(rest)-n) {
			return Change{}, fmt.Errorf("change %x: %w", b, ErrCorrupt)
		}
		fields[i], rest = rest[n:n+int(length)], rest[n+int(length):]
	}
	if len(rest) != 0 {
		return Change{}, fmt.Errorf("change %x: %w", b, ErrCorrupt)
	}
	c.Kind, c.Key, c.Note = string(fields[0]), string(fields[1]), string(fields[2])
	c.Value = bytes.Clone(fields[3])
	return c, nil
}
