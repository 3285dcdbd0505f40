// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"testing"
)

// TestReadOnlyMappings: nothing that was, or can be, written to.
func TestReadOnlyMappings(t *testing.T) {
	const maps = `00400000-00a5c000 r-xp 00000000 fe:01 1234                           /opt/a b/foundryd
00a5c000-01148000 r--p 0065c000 fe:01 1234                           /opt/a b/foundryd
01148000-01150000 rw-p 00d48000 fe:01 1234                           /opt/a b/foundryd
01150000-03195000 rw-p 00000000 00:00 0                              [heap]
7f0000000000-7f0000001000 r--p 00000000 fe:01 99                     /usr/lib/libc.so
7f0000002000-7f0000003000 r--p 00000000 00:00 0
`
	got := fmt.Sprintf("%#x", readOnlyMappings(maps, "/opt/a b/foundryd"))
	if want := "[{0x400000 0xa5c000} {0xa5c000 0x1148000}]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := readOnlyMappings(maps, "/other"); got != nil {
		t.Errorf("of another program: got %v", got)
	}
}

// TestTrim: the program goes on as if nothing had been.
func TestTrim(t *testing.T) {
	if len(programMappings()) == 0 {
		t.Error("the running program has no mappings")
	}
	before, err := os.ReadFile("/proc/self/smaps_rollup")
	if err != nil {
		t.Fatal(err)
	}
	trim()
	if got := fmt.Sprint(len(before) > 0, os.Getpid() > 0); got != "true true" {
		t.Errorf("got %s", got)
	}
}

// TestResting: memory is given back once, after a rest from something.
func TestResting(t *testing.T) {
	var r resting
	trims := ""
	for second, calls := range []uint64{0, 0, 0, 0, 0, 0, 1, 1, 2, 2, 2, 2, 2} {
		busy := r.busy
		r.second(calls)
		if busy && !r.busy {
			trims += fmt.Sprint(second, " ")
		}
	}
	if want := "3 11 "; trims != want {
		t.Errorf("given back at seconds %q, want %q", trims, want)
	}
}
