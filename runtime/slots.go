// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"foundry/runtime/journal"
)

// The part of a slot (runtime/spawn/c/wire.h) by which delete finds processes
// that a dead server had cloned and that are in no cgroup yet.
const (
	slotSize     = 4096
	slotReserved = 1
	slotRunning  = 2
)

type liveSlot struct {
	pids    []int // the process, and the one that it may just have forked
	started time.Time
}

// readLive lists the slots with a living process whose key is in the range
// of a container.
func readLive(path string, first uint64) ([]liveSlot, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read slots: %w", err)
	}
	defer f.Close()
	var live []liveSlot
	b := make([]byte, 40)
	if _, err := f.ReadAt(b, 0); err != nil {
		return nil, fmt.Errorf("read slots: %w", err)
	}
	high := int64(binary.LittleEndian.Uint32(b[16:]))
	for n := int64(1); n < high; n++ {
		if _, err := f.ReadAt(b, n*slotSize); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("read slot %d: %w", n, err)
		}
		state, key := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint64(b[8:])
		if key-first >= journal.KeySpan || state != slotReserved && state != slotRunning {
			continue
		}
		s := liveSlot{started: time.Unix(0, int64(binary.LittleEndian.Uint64(b[32:])))}
		for _, at := range []int{16, 20} {
			if pid := int(int32(binary.LittleEndian.Uint32(b[at:]))); pid > 1 {
				s.pids = append(s.pids, pid)
			}
		}
		live = append(live, s)
	}
	return live, nil
}

// killSlots ends what the slot file says was cloned for the container. A
// number may have come to mean another process since the spawner died: it must
// have been started when its slot was taken.
func (w *wreck) killSlots(ctx context.Context) error {
	live, err := readLive(w.record.Slots, w.record.Key)
	errs := []error{err}
	for _, s := range live {
		for _, pid := range s.pids {
			errs = append(errs, endProcess(ctx, pid, func() bool { return startedAt(pid, s.started) }))
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
