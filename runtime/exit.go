// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"fmt"
	"sync"
	"time"

	"foundry/runtime/spawn"
)

// Exit tells how a process ended.
type Exit struct {
	Status int // 0-255, or 128 + the signal
	Signal int // that ended it, or 0
	At     time.Time
	Pid    int

	ack func() error
}

// Ack tells the spawner that the exit is stored and its record may go. It is
// called once, by whoever got the exit from an OnExit.
func (e Exit) Ack() error {
	if e.ack == nil {
		return nil
	}
	if err := e.ack(); err != nil {
		return fmt.Errorf("acknowledge exit of process %d: %w", e.Pid, err)
	}
	return nil
}

// child is what the spawner runs for us, from before its clone until its exit.
type child struct {
	key  uint64
	done chan struct{} // closed once exit is set

	mu      sync.Mutex // guards the two below
	exit    *spawn.Exit
	deliver func(spawn.Exit) // nil until armed
}

// exited records the end of the child and hands it to whom it may concern.
func (c *child) exited(e spawn.Exit) {
	c.mu.Lock()
	if c.exit != nil {
		c.mu.Unlock()
		return
	}
	c.exit = &e
	deliver := c.deliver
	close(c.done)
	c.mu.Unlock()
	if deliver != nil {
		deliver(e)
	}
}

// arm has deliver called with the exit: now, when it was there already. Until a
// child is armed its exit is kept, so that no exit is told of a process which
// Create or Exec has not yet returned.
func (c *child) arm(deliver func(spawn.Exit)) {
	c.mu.Lock()
	c.deliver = deliver
	exit := c.exit
	c.mu.Unlock()
	if exit != nil {
		deliver(*exit)
	}
}

// router finds the child of an exit.
type router struct {
	mu    sync.Mutex // guards byKey
	byKey map[uint64]*child
}

// expect makes the child that exits with key are routed to; nil when the key
// is taken.
func (r *router) expect(key uint64) *child {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byKey[key] != nil {
		return nil
	}
	c := &child{key: key, done: make(chan struct{})}
	r.byKey[key] = c
	return c
}

// forget takes a child out that never was cloned.
func (r *router) forget(c *child) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byKey[c.key] == c {
		delete(r.byKey, c.key)
	}
}

// drop takes a child out whose launch failed. If only its caller has gone, it was
// or will be cloned all the same, and killed for it: its exit may be here already,
// and goes to dismiss. One that is still to come nobody expects.
func (r *router) drop(c *child, dismiss func(spawn.Exit)) {
	c.arm(dismiss)
	r.forget(c)
}

// route delivers e; false when nobody expects it.
func (r *router) route(e spawn.Exit) bool {
	r.mu.Lock()
	c := r.byKey[e.Key]
	delete(r.byKey, e.Key)
	r.mu.Unlock()
	if c == nil {
		return false
	}
	c.exited(e)
	return true
}
