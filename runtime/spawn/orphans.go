// SPDX-License-Identifier: Apache-2.0

package spawn

import (
	"sync/atomic"
	"unsafe"
)

// Orphans is how many processes were left to the spawner by others and reaped
// by it.
func (c *Client) Orphans() uint64 {
	h := (*slotHeader)(unsafe.Pointer(&c.slots.mem[0]))
	return atomic.LoadUint64(&h.Orphans)
}
