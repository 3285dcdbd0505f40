// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"runtime/debug"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// resting notices when a server that had something to do has nothing any more.
// The zero value is one that has started: that leaves something to give back.
type resting struct {
	calls uint64 // so far
	idle  bool   // memory was given back, and nobody has called since
	quiet int    // seconds without a call
	busy  int    // seconds since memory was given back
}

// quietTime is how long nobody may call, in seconds, before memory is given back;
// busyTime how often the heap is trimmed while there is no such time.
const quietTime, busyTime = 3, 30

// second is called once in a second, with the number of calls so far.
func (r *resting) second(calls uint64) {
	r.quiet++
	if calls != r.calls {
		r.calls, r.idle, r.quiet = calls, false, 0
	}
	if r.idle {
		return
	}
	r.busy++
	switch {
	case r.quiet == quietTime:
		r.idle, r.busy = true, 0
		trim()
	case r.busy%busyTime == 0:
		debug.FreeOSMemory()
	}
}

// trim gives memory back that an idle server does not use: free parts of the heap,
// and the pages of its own program. Most of the latter only initialisation has
// touched. They are unmodified pages of a file, and stay in the page cache: what is
// needed again is mapped again without being read (madvise(2), MADV_DONTNEED).
func trim() {
	debug.FreeOSMemory()
	for _, m := range programMappings() {
		// It is advice: a kernel that does not take it leaves all as it was.
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, m.start, m.end-m.start, unix.MADV_DONTNEED)
	}
}

type mapping struct{ start, end uintptr }

// programMappings are those of our own program that nobody has written to, nor
// can: text and read-only data. Without /proc there are none.
func programMappings() []mapping {
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return nil
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return nil
	}
	return readOnlyMappings(string(maps), program)
}

// readOnlyMappings picks from the text of /proc/PID/maps (proc_pid_maps(5)):
//
//	00400000-00a5c000 r-xp 00000000 fe:01 1234    /usr/local/bin/foundryd
func readOnlyMappings(maps, program string) []mapping {
	var list []mapping
	for line := range strings.Lines(maps) {
		fields := strings.Fields(line)
		if len(fields) < 6 || !strings.HasSuffix(strings.TrimSuffix(line, "\n"), " "+program) {
			continue
		}
		if perms := fields[1]; perms != "r-xp" && perms != "r--p" {
			continue
		}
		from, to, _ := strings.Cut(fields[0], "-")
		start, err1 := strconv.ParseUint(from, 16, 64)
		end, err2 := strconv.ParseUint(to, 16, 64)
		if err1 == nil && err2 == nil && start < end {
			list = append(list, mapping{uintptr(start), uintptr(end)})
		}
	}
	return list
}
