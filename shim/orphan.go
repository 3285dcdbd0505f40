// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"syscall"
	"time"
)

// orphanGrace is the most that an exec without a client has between SIGHUP
// and SIGKILL.
const orphanGrace = 10 * time.Second

// outputs are what tells whether a process has a client: its streams.
type outputs interface{ Abandoned() bool }

// endOrphan ends an exec when its client has been gone for the time that the
// options say: a probe whose prober has died, a shell whose terminal is
// closed. It returns when the exec has ended. Its exit is told like any other.
func (c *container) endOrphan(p *process, io outputs) {
	limit := c.opts.ExecOrphan // set before the first exec
	look := time.NewTicker(min(max(limit/8, 50*time.Millisecond), 5*time.Second))
	defer look.Stop()
	var gone time.Time
	for {
		select {
		case <-p.done:
			return
		case now := <-look.C:
			switch {
			case !io.Abandoned():
				gone = time.Time{}
				continue
			case gone.IsZero():
				gone = now
			}
			if now.Sub(gone) < limit {
				continue
			}
		}
		break
	}
	c.log.Warn("exec without a client: its output has had no reader for too long", "process", p.id, "after", limit)
	_ = c.signal(p, syscall.SIGHUP) // it may have ended just now
	grace := time.NewTimer(min(limit, orphanGrace))
	defer grace.Stop()
	select {
	case <-p.done:
	case <-grace.C:
		_ = c.signal(p, syscall.SIGKILL)
	}
}
