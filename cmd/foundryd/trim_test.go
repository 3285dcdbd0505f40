// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"unsafe"
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

// TestTrim: the program goes on, with less of itself in memory.
func TestTrim(t *testing.T) {
	touched := byte(0)
	for _, m := range programMappings() {
		for _, b := range unsafe.Slice((*byte)(unsafe.Add(nil, m.start)), m.end-m.start) {
			touched ^= b
		}
	}
	before := rssFile(t)
	trim()
	if after := rssFile(t); after >= before/2 {
		t.Errorf("pages of files (sum %d): %d KiB after %d KiB, want less than half", touched, after, before)
	}
}

// rssFile is how much of files is mapped and in memory, in KiB: proc_pid_status(5).
func rssFile(t *testing.T) (n int) {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	must(t, err)
	_, rest, _ := strings.Cut(string(status), "RssFile:")
	_, err = fmt.Sscan(rest, &n)
	must(t, err)
	return n
}

// TestResting: memory is given back once after the start, and once after a rest
// from something.
func TestResting(t *testing.T) {
	var r resting
	trims := ""
	for second, calls := range []uint64{0, 0, 0, 0, 0, 0, 1, 1, 2, 2, 2, 2, 2} {
		idle := r.idle
		r.second(calls)
		if r.idle && !idle {
			trims += fmt.Sprint(second, " ")
		}
	}
	if want := "2 11 "; trims != want {
		t.Errorf("given back at seconds %q, want %q", trims, want)
	}
}
