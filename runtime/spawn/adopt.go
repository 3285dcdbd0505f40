// SPDX-License-Identifier: Apache-2.0

package spawn

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"
)

// Adopt gives key to pid, a child of the spawner that it did not clone: criu
// makes the process that it restores a sibling of itself. From then on it is
// like one of Spawn that has executed its program: it has no sync points, and
// its exit is told under its key. It fails with ECHILD for any other process,
// and when pid has ended before.
func (c *Client) Adopt(ctx context.Context, key uint64, pid int) (*Process, error) {
	if key == 0 || pid <= 1 {
		return nil, fmt.Errorf("adopt process %d: %w", pid, unix.EINVAL)
	}
	p := &Process{Key: key}
	m := msg{Type: msgAdopt, Key: key, Pid: int32(pid)}
	if err := c.spawn(ctx, p, &m, nil); err != nil {
		return nil, fmt.Errorf("adopt process %d: %w", pid, err)
	}
	return p, nil
}
