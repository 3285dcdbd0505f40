// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Pause freezes every process of the container and returns when they are.
func (c *Container) Pause(ctx context.Context) error {
	if c.init.gone() {
		return fmt.Errorf("pause %q: %w", c.name.id, ErrNotRunning)
	}
	if err := c.frozen.enter(ctx, true); err != nil {
		return fmt.Errorf("pause %q: wait for processes on their way into it: %w", c.name.id, err)
	}
	defer c.frozen.leave()
	if err := c.group.Freeze(ctx); err != nil {
		return fmt.Errorf("pause %q: %w", c.name.id, err)
	}
	return nil
}

// Resume thaws what Pause froze.
func (c *Container) Resume(context.Context) error {
	if err := c.group.Thaw(); err != nil {
		return fmt.Errorf("resume %q: %w", c.name.id, err)
	}
	return nil
}

// Update changes the limits that r names and leaves the others alone.
func (c *Container) Update(_ context.Context, r *specs.LinuxResources) error {
	if err := c.group.Update(r); err != nil {
		return fmt.Errorf("update %q: %w", c.name.id, err)
	}
	return nil
}

// Stats is a *v1.Metrics or *v2.Metrics of containerd/cgroups, as the host's mode.
func (c *Container) Stats() (any, error) {
	stats, err := c.group.Stats()
	if err != nil {
		return nil, fmt.Errorf("stats of %q: %w", c.name.id, err)
	}
	return stats, nil
}

// Pids are the processes in the container's cgroup.
func (c *Container) Pids() ([]int, error) {
	pids, err := c.group.Pids()
	if err != nil {
		return nil, fmt.Errorf("pids of %q: %w", c.name.id, err)
	}
	return pids, nil
}

// OOMKills is how often the kernel killed for memory in the container.
func (c *Container) OOMKills() (uint64, error) {
	n, err := c.group.OOMKills()
	if err != nil {
		return 0, fmt.Errorf("OOM kills of %q: %w", c.name.id, err)
	}
	return n, nil
}
