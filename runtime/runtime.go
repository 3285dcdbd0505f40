// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"foundry/runtime/journal"
	"foundry/runtime/seccomp"
	"foundry/runtime/spawn"
)

// Config is what a [Runtime] needs to know. Root is required.
type Config struct {
	// Root is the instance's directory; journals are below Root/c.
	Root string
	// Slots is the path of the spawner's slot file. It is noted in the
	// journals; without it delete cannot tell the exit of a container whose
	// server died.
	Slots string
	// OnOOM is told when the kernel killed a process of a container for
	// memory. It must not block. Nil: nobody watches.
	OnOOM func(namespace, id string)
	// TraceEnv is what a hook without an environment of its own gets of the
	// trace that a request's context carries, such as "TRACEPARENT=...". Nil:
	// nothing.
	TraceEnv func(context.Context) []string
	// Log gets what no caller can be told: an exit that nobody expects. Nil is silence.
	Log *slog.Logger

	// step is called after each journalled step, by name: tests kill the
	// server there.
	step func(name string)
}

// Runtime runs the containers of one instance. Its methods may be called from
// several goroutines; none holds a lock of the Runtime while a container is
// being created, so one slow container delays no other.
type Runtime struct {
	cfg     Config
	host    host
	filters seccomp.Cache
	router  router
	keys    *keys // of helpers that belong to no container
	spawner atomic.Pointer[spawn.Client]
	helpers helperGroup
	oom     oomWatch
	agent   agent

	mu         sync.Mutex // guards containers
	containers map[name]*Container
}

// name is what identifies a container within the instance.
type name struct{ namespace, id string }

// New probes the host once and returns a Runtime without containers. It can
// create some after [Runtime.Connect].
func New(cfg Config) (*Runtime, error) {
	host, err := probe()
	if err != nil {
		return nil, fmt.Errorf("start runtime: %w", err)
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.step == nil {
		cfg.step = func(string) {}
	}
	return &Runtime{
		cfg:        cfg,
		host:       host,
		keys:       newKeys(),
		router:     router{byKey: map[uint64]*child{}},
		agent:      agent{log: cfg.Log},
		containers: map[name]*Container{},
	}, nil
}

// Connect gives the Runtime its spawner. It comes after New because the
// client of the spawner wants [Runtime.HandleExit] when it is made.
func (r *Runtime) Connect(c *spawn.Client) { r.spawner.Store(c) }

// Close gives up what the Runtime holds for all containers. The containers live
// on; so does the helpers' cgroup while a helper is in it.
func (r *Runtime) Close() error {
	return errors.Join(r.agent.close(), r.oom.close(), r.helpers.close())
}

// HandleExit takes an exit from the spawner's client; it does not block.
func (r *Runtime) HandleExit(e spawn.Exit) {
	if r.router.route(e) {
		return
	}
	r.cfg.Log.Warn("exit of an unknown process", "key", e.Key, "pid", e.Pid, "status", e.Status)
	r.dismiss(e)
}

func (r *Runtime) ack(e spawn.Exit) error {
	c := r.spawner.Load()
	if c == nil {
		return ErrSpawner
	}
	return c.Ack(e)
}

// Container returns the container of that name, or nil.
func (r *Runtime) Container(namespace, id string) *Container {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.containers[name{namespace, id}]
}

// reserve makes c the container of its name.
func (r *Runtime) reserve(c *Container) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.containers[c.name] != nil {
		return fmt.Errorf("container %w", ErrExists)
	}
	r.containers[c.name] = c
	return nil
}

func (r *Runtime) release(c *Container) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.containers[c.name] == c {
		delete(r.containers, c.name)
	}
}

// newKeys draws the keys of a container: random, so that those of different
// servers and spawners of an instance do not meet in a slot file.
func newKeys() *keys {
	var b [8]byte
	rand.Read(b[:]) // never fails
	first := binary.LittleEndian.Uint64(b[:]) &^ (journal.KeySpan - 1)
	return &keys{first: first}
}

// keys hands out the spawner keys of one container.
type keys struct {
	first uint64
	n     atomic.Uint64
}

// expect registers a child with the next free key.
func (k *keys) expect(r *router) *child {
	for {
		// The first key is init's: it is taken once and never comes again.
		n := k.n.Add(1) - 1
		if n >= journal.KeySpan {
			n = 1 + n%(journal.KeySpan-1)
		}
		if c := r.expect(k.first + n); c != nil {
			return c
		}
	}
}
