// SPDX-License-Identifier: Apache-2.0

package spawn

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// slotTable is the server's mapping of the slot file.
type slotTable struct {
	mem   []byte
	slots uint32
}

func mapSlots(f *os.File) (*slotTable, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("map slots: %w", err)
	}
	size := st.Size()
	if size < 2*slotSize || size%slotSize != 0 {
		return nil, fmt.Errorf("map slots %s: a file of %d bytes is no slot file", f.Name(), size)
	}
	mem, err := unix.Mmap(int(f.Fd()), 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, os.NewSyscallError("mmap slots", err)
	}
	return &slotTable{mem: mem, slots: uint32(size / slotSize)}, nil
}

func (t *slotTable) close() error { return unix.Munmap(t.mem) }

// page returns slot n, or nil when there is none.
func (t *slotTable) page(n uint32) *slot {
	if n == 0 || n >= t.slots {
		return nil
	}
	return (*slot)(unsafe.Pointer(&t.mem[int(n)*slotSize]))
}

// letGo lets the stage of the slot pass its first n sync points.
func (s *slot) letGo(n uint32) {
	atomic.StoreUint32(&s.Go, n)
	// The page is shared with the stage: not the private kind of futex.
	_, _, _ = unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(&s.Go)), 1 /* FUTEX_WAKE */, 1, 0, 0, 0)
}

// Exit is how a process ended, as the spawner recorded it.
type Exit struct {
	Key    uint64
	Slot   uint32
	Pid    int
	Status int // 0-255, or 128+Signal
	Signal int // 0: it exited by itself
	At     time.Time
}

// ReadExit finds the exit recorded for key in a slot file, with the spawner
// and the server dead or alive. Without an exit but with a process of that key
// it returns its Pid, and false.
func ReadExit(slotsPath string, key uint64) (Exit, bool, error) {
	var e Exit
	exited := false
	err := eachSlot(slotsPath, func(n uint32, s *slot) bool {
		if s.Key != key {
			return true
		}
		e, exited = Exit{Key: key, Slot: n, Pid: int(s.Pid)}, s.State == slotExited
		if exited {
			e.Status, e.Signal, e.At = int(s.Status), int(s.Sig), time.Unix(0, int64(s.ExitedNs))
		}
		return false
	})
	return e, exited, err
}

// Live is what a slot file says of a clone that has not ended.
type Live struct {
	Pids    []int     // the process, and the one that it may just have forked
	Started time.Time // when the slot was taken
}

// ReadLive lists the clones whose keys are in [first, first+span) and that
// have not ended, with the spawner and the server dead or alive.
func ReadLive(slotsPath string, first, span uint64) ([]Live, error) {
	var live []Live
	err := eachSlot(slotsPath, func(_ uint32, s *slot) bool {
		if s.Key-first >= span || s.State != slotReserved && s.State != slotRunning {
			return true
		}
		l := Live{Started: time.Unix(0, int64(s.StartedNs))}
		for _, pid := range []int32{s.Pid, s.Child} {
			if pid > 1 {
				l.Pids = append(l.Pids, int(pid))
			}
		}
		live = append(live, l)
		return true
	})
	return live, err
}

// eachSlot gives f the slots in use, without their texts, until it says false.
func eachSlot(slotsPath string, f func(n uint32, s *slot) bool) error {
	file, err := os.Open(slotsPath)
	if err != nil {
		return fmt.Errorf("read slots: %w", err)
	}
	defer file.Close()
	var h slotHeader
	if err := readAt(file, unsafe.Slice((*byte)(unsafe.Pointer(&h)), unsafe.Sizeof(h)), 0); err != nil {
		return fmt.Errorf("read slots from %s: %w", slotsPath, err)
	}
	if h.Magic != slotMagic || h.Version != wireVersion {
		return fmt.Errorf("read slots from %s: not a slot file of version %d", slotsPath, wireVersion)
	}
	for n := uint32(1); n < min(h.High, h.Slots); n++ {
		var s slot
		if err := readAt(file, unsafe.Slice((*byte)(unsafe.Pointer(&s)), unsafe.Offsetof(s.What)), int64(n)*slotSize); err != nil {
			return fmt.Errorf("read slot %d of %s: %w", n, slotsPath, err)
		}
		if s.State != slotFree && !f(n, &s) {
			break
		}
	}
	return nil
}

func readAt(f *os.File, b []byte, at int64) error {
	if _, err := f.ReadAt(b, at); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}
