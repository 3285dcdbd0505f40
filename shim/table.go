// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"fmt"
	"sync"
)

// Key names a container: ids are unique only within a namespace of containerd.
type Key struct{ Namespace, ID string }

func (k Key) String() string { return k.Namespace + "/" + k.ID }

// table finds containers. An id is taken before the first effect of its
// create, so that of two creates one fails before it has done anything.
type table struct {
	mu         sync.RWMutex // guards containers
	containers map[Key]*container
}

// reserve takes the id of c.
func (t *table) reserve(c *container) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.containers[c.key] != nil {
		return fmt.Errorf("create %q: %w", c.key.ID, errTaken)
	}
	if len(t.containers) >= maxContainers {
		return fmt.Errorf("create %q: %w: %d containers", c.key.ID, errQuota, maxContainers)
	}
	t.containers[c.key] = c
	return nil
}

// get returns the container of that name whatever its phase, or nil.
func (t *table) get(k Key) *container {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.containers[k]
}

// release makes the id of c free again; c may be gone already.
func (t *table) release(c *container) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.containers[c.key] == c {
		delete(t.containers, c.key)
	}
}

func (t *table) len() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.containers)
}
