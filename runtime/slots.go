// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"golang.org/x/sys/unix"

	"foundry/runtime/journal"
	"foundry/runtime/spawn"
)

// killSlots ends what the slot file says was cloned for the container. A
// number may have come to mean another process since the spawner died: it must
// have been started when its slot was taken.
func (w *wreck) killSlots(ctx context.Context) error {
	live, err := spawn.ReadLive(w.record.Slots, w.record.Key, journal.KeySpan)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	errs := []error{err}
	for _, s := range live {
		for _, pid := range s.Pids {
			errs = append(errs, endProcess(ctx, pid, func() bool { return startedAt(pid, s.Started) }))
		}
	}
	return errors.Join(errs...)
}

// startedAt says whether a process was started at about t. The kernel tells it
// by ticks of 10 ms; a fork of the stage comes a moment later.
func startedAt(pid int, t time.Time) bool {
	ticks, err := startTime(pid)
	if err != nil {
		return false
	}
	var boot unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot); err != nil {
		return false
	}
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every architecture
	began := time.Now().Add(time.Duration(ticks)*tick - time.Duration(boot.Nano()))
	d := began.Sub(t)
	return d > -100*time.Millisecond && d < 2*time.Second
}
