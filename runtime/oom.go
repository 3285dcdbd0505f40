// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"fmt"
	"sync"

	"foundry/runtime/cgroup"
)

// oomWatch is the one watcher of all containers' memory, made for the first.
type oomWatch struct {
	mu      sync.Mutex // guards watcher
	watcher *cgroup.Watcher
}

func (o *oomWatch) open() (*cgroup.Watcher, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.watcher != nil {
		return o.watcher, nil
	}
	w, err := cgroup.NewWatcher()
	if err != nil {
		return nil, err
	}
	o.watcher = w
	return w, nil
}

func (o *oomWatch) close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.watcher == nil {
		return nil
	}
	err := o.watcher.Close()
	o.watcher = nil
	return err
}

// watchOOM tells OnOOM of the container's out-of-memory kills until it is deleted.
func (c *Container) watchOOM() error {
	tell := c.rt.cfg.OnOOM
	if tell == nil {
		return nil
	}
	w, err := c.rt.oom.open()
	if err != nil {
		return err
	}
	stop, err := w.Watch(c.group, func() { tell(c.name.namespace, c.name.id) })
	if err != nil {
		return err
	}
	c.undo.push("stop the OOM watch", func(context.Context) error { stop(); return nil })
	return nil
}

// starved names the limit when err came of it: a container in which somebody
// was killed for want of memory before its program ran.
func (c *Container) starved(err error) error {
	if c.group == nil {
		return err
	}
	if kills, err2 := c.group.OOMKills(); err2 != nil || kills == 0 {
		return err
	}
	return fmt.Errorf("%w (linux.resources.memory.limit is too low for a process to start in)", err)
}
