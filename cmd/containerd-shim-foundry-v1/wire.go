// SPDX-License-Identifier: Apache-2.0

package main

import "math/bits"

// The protobuf wire format, as much as the launcher needs: a message is a row
// of fields, each a varint key (number<<3 | type) and a value of that type.
const (
	wireVarint     = 0
	wireFixed64    = 1
	wireBytes      = 2
	wireStartGroup = 3
	wireEndGroup   = 4
	wireFixed32    = 5
)

type field struct {
	number uint64
	wire   int
	bytes  []byte // wireBytes only
}

// readField takes one field off b and says how long it was; 0 is no field. It
// accepts what google.golang.org/protobuf accepts, unknown groups included.
func readField(b []byte) (field, int) {
	key, n := readVarint(b)
	f := field{number: key >> 3, wire: int(key & 7)}
	if n == 0 || f.number == 0 || f.number > 1<<29-1 || f.wire == wireEndGroup {
		return f, 0
	}
	var size int
	var ok bool
	if f.wire == wireStartGroup {
		size, ok = groupSize(b[n:], f.number)
	} else {
		f.bytes, size, ok = readValue(b[n:], f.wire)
	}
	if !ok {
		return f, 0
	}
	return f, n + size
}

func readValue(b []byte, wire int) (bytes []byte, size int, ok bool) {
	switch wire {
	case wireVarint:
		_, n := readVarint(b)
		return nil, n, n > 0
	case wireFixed64:
		return nil, 8, len(b) >= 8
	case wireFixed32:
		return nil, 4, len(b) >= 4
	case wireBytes:
		length, n := readVarint(b)
		if n == 0 || length > uint64(len(b)-n) {
			return nil, 0, false
		}
		return b[n : n+int(length)], n + int(length), true
	}
	return nil, 0, false
}

// groupSize walks a group of an unknown field up to its end mark. Groups nest,
// so the open ones are kept in a list: no recursion over foreign bytes.
func groupSize(b []byte, number uint64) (int, bool) {
	const deepest = 10000
	open, at := []uint64{number}, 0
	for len(open) > 0 {
		key, n := readVarint(b[at:])
		number := key >> 3
		if n == 0 || number == 0 || number > 1<<29-1 || len(open) > deepest {
			return 0, false
		}
		at += n
		switch wire := int(key & 7); wire {
		case wireStartGroup:
			open = append(open, number)
		case wireEndGroup:
			if open[len(open)-1] != number {
				return 0, false
			}
			open = open[:len(open)-1]
		default:
			_, size, ok := readValue(b[at:], wire)
			if !ok {
				return 0, false
			}
			at += size
		}
	}
	return at, true
}

// readVarint returns the length 0 for one that is cut off or over 64 bits.
func readVarint(b []byte) (uint64, int) {
	var v uint64
	for i := 0; i < len(b) && i < 10; i++ {
		if i == 9 && b[i] > 1 {
			return 0, 0
		}
		v |= uint64(b[i]&0x7f) << (7 * i)
		if b[i] < 0x80 {
			return v, i + 1
		}
	}
	return 0, 0
}

func appendVarint(b []byte, v uint64) []byte {
	for v >= 0x80 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v))
}

func appendBytes(b []byte, number uint64, s string) []byte {
	b = appendVarint(b, number<<3|wireBytes)
	b = appendVarint(b, uint64(len(s)))
	return append(b, s...)
}

// hash128 is FNV-1a of 128 bits: enough to keep the instances of one host
// apart, and no cryptographic package to initialise.
func hash128(words ...string) string {
	hi, lo := uint64(0x6c62272e07bb0142), uint64(0x62b821756295c58d)
	for _, w := range words {
		for i := 0; i <= len(w); i++ {
			var c byte // each word ends with a zero, so that no two lists are alike
			if i < len(w) {
				c = w[i]
			}
			lo ^= uint64(c)
			// times 2^88 + 0x13b
			carry, low := bits.Mul64(lo, 0x13b)
			hi = hi*0x13b + carry + lo<<24
			lo = low
		}
	}
	const digits = "0123456789abcdef"
	out := make([]byte, 0, 32)
	for _, part := range []uint64{hi, lo} {
		for shift := 60; shift >= 0; shift -= 4 {
			out = append(out, digits[part>>shift&15])
		}
	}
	return string(out)
}
