// SPDX-License-Identifier: Apache-2.0

package seccomp

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"sync"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Digest names a profile by its contents: equal profiles have equal digests.
func Digest(p *specs.LinuxSeccomp) string {
	h := sha256.New()
	// JSON leaves an empty list of flags out, which means another thing than
	// none at all.
	if p.Flags != nil {
		h.Write([]byte("flags "))
	}
	// The types have no field that fails to marshal, and a hash takes all.
	_ = json.NewEncoder(h).Encode(p)
	return hex.EncodeToString(h.Sum(nil))
}

// DefaultSize is how many filters a Cache keeps when its Size is 0. A filter
// is a few KiB; hosts use a handful of profiles, which differ by the
// capabilities of their containers.
const DefaultSize = 64

// Cache compiles each profile once. The zero value is ready; it is safe for
// concurrent use and must not be copied. Filters it returned are shared:
// their Prog must not be written to.
type Cache struct {
	Size int // filters kept, DefaultSize when 0

	mu      sync.Mutex
	entries map[string]*entry
	clock   uint64
}

// entry is a filter that is there, or will be when its once has run.
type entry struct {
	once   sync.Once
	filter Filter
	err    error
	used   uint64 // clock of the last use
}

// Compile is the package's Compile, once per profile. Errors are not kept.
func (c *Cache) Compile(p *specs.LinuxSeccomp) (Filter, error) {
	if p == nil {
		return Filter{}, nil
	}
	key := Digest(p)
	e := c.entry(key)
	e.once.Do(func() { e.filter, e.err = Compile(p) })
	if e.err != nil {
		c.forget(key, e)
	}
	return e.filter, e.err
}

// entry finds or makes the entry of a profile, at the cost of the one that
// was not used for longest.
func (c *Cache) entry(key string) *entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.entries == nil {
		c.entries = map[string]*entry{}
	}
	e := c.entries[key]
	if e == nil {
		c.evictLocked()
		e = &entry{}
		c.entries[key] = e
	}
	c.clock++
	e.used = c.clock
	return e
}

// evictLocked makes room for one entry.
// Preconditions: c.mu is held.
func (c *Cache) evictLocked() {
	size := c.Size
	if size <= 0 {
		size = DefaultSize
	}
	for len(c.entries) >= size {
		oldest := ""
		for key, e := range c.entries {
			if oldest == "" || e.used < c.entries[oldest].used {
				oldest = key
			}
		}
		delete(c.entries, oldest)
	}
}

func (c *Cache) forget(key string, e *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.entries[key] == e {
		delete(c.entries, key)
	}
}
