// SPDX-License-Identifier: Apache-2.0

package spawn

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"time"
)

// Listener returns the listener of the process's seccomp filter. It can be had
// after [PointListener] of a plan with [plan.FlagListener], until Go. The
// process comes to that point just before it installs the filter, and can tell
// nobody when it has: so this looks until it is so, or the step has failed.
//
// The process burns a CPU until Go: what takes time comes after that. From the
// filter on its system calls may wait for an answer from the listener, those
// of the stage too (after which [PointReady] may follow).
func (p *Process) Listener(ctx context.Context) (*os.File, error) {
	// The installation takes as long as the kernel translates the filter.
	for wait := 10 * time.Microsecond; ; wait = min(2*wait, 5*time.Millisecond) {
		f, err := p.listener()
		if f != nil {
			return f, nil
		}
		if err == nil {
			timer := time.NewTimer(wait)
			select {
			case <-timer.C:
				continue
			case <-ctx.Done():
				timer.Stop()
				err = context.Cause(ctx)
			}
		}
		return nil, fmt.Errorf("take seccomp listener of process %d: %w", p.Pid, err)
	}
}

// listener returns nothing as long as the filter is not installed.
func (p *Process) listener() (*os.File, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.page == nil {
		if p.last.errno != 0 {
			return nil, p.stageError(p.last)
		}
		return nil, os.ErrProcessDone
	}
	if o := outcomeOf(p.page); o.errno != 0 {
		return nil, p.stageError(o)
	}
	number := atomic.LoadInt32(&p.page.Listener)
	if number == 0 {
		return nil, nil
	}
	return p.take(int(number)-1, "seccomp listener")
}
