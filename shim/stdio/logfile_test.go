// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func TestLogFile(t *testing.T) {
	p := testPump(t)
	path := filepath.Join(t.TempDir(), "a", "b", "log")
	for round := range 2 { // the second appends
		x := testOpen(t, p, Config{Stdout: "file://" + path, Stderr: "file://" + path})
		start(t, x)
		_, out, errw := x.Child()
		var wg sync.WaitGroup
		for _, f := range []*os.File{out, errw} {
			wg.Go(func() {
				for i := range 1000 {
					fmt.Fprintf(f, "%d %s %04d\n", round, f.Name(), i)
				}
			})
		}
		wg.Wait()
		x.CloseChild()
		drain(t, x)
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	sort.Strings(lines)
	if len(lines) != 4000 || lines[0] != "0 stderr 0000" || lines[3999] != "1 stdout 0999" {
		t.Errorf("got %d lines, first %q, last %q", len(lines), lines[0], lines[len(lines)-1])
	}
	st, err := os.Stat(path)
	if err != nil || st.Mode().Perm()&^0o644 != 0 {
		t.Errorf("mode: got %v, %v", st.Mode(), err)
	}
}

func TestPlainFileIsAppendedTo(t *testing.T) {
	p := testPump(t)
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte("old "), 0o600); err != nil {
		t.Fatal(err)
	}
	x := testOpen(t, p, Config{Stdout: path, Stderr: path})
	start(t, x)
	_, out, _ := x.Child()
	write(t, out, "new")
	x.CloseChild()
	drain(t, x)
	if data, err := os.ReadFile(path); err != nil || string(data) != "old new" {
		t.Errorf("got %q, %v, want %q", data, err, "old new")
	}
}

// A log file that cannot be written to for a while, here for want of space,
// costs no byte and no restart.
func TestLogFileFullForAWhile(t *testing.T) {
	dir := smallDisk(t)
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 60<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	p := testPump(t)
	x := testOpen(t, p, Config{Stdout: "file://" + dir + "/log"})
	start(t, x)
	_, out, _ := x.Child()
	text := strings.Repeat("0123456789abcdef", 40<<10/16)
	write(t, out, text)
	eventually(t, "device full", func() bool {
		st, err := os.Stat(dir + "/log")
		return err == nil && st.Size() > 0
	})
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	x.CloseChild()
	drain(t, x)
	if data, err := os.ReadFile(dir + "/log"); err != nil || string(data) != text {
		t.Errorf("got %d bytes, %v, want %d", len(data), err, len(text))
	}
}

func TestDeviceAsOutput(t *testing.T) {
	p := testPump(t)
	x := testOpen(t, p, Config{Stdout: "/dev/null"})
	start(t, x)
	_, out, _ := x.Child()
	if _, err := io.WriteString(out, strings.Repeat("x", 1<<20)); err != nil {
		t.Fatal(err)
	}
	x.CloseChild()
	drain(t, x)
}

func TestDrainOfFullDisk(t *testing.T) {
	dir := smallDisk(t)
	p := testPump(t)
	x := testOpen(t, p, Config{Stdout: "file://" + dir + "/log", Backlog: Backlog{Bytes: testRing}})
	start(t, x)
	_, out, _ := x.Child()
	write(t, out, strings.Repeat("x", 100<<10))
	x.CloseChild()
	wantStuck(t, x, "stdout: no space left on device")
}

// smallDisk is a directory that holds 64 KiB.
func smallDisk(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: mounting a small tmpfs needs root")
	}
	dir := t.TempDir()
	if err := unix.Mount("stdio-test", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("SKIPPED: mount tmpfs: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// With LossFull a full disk does not stop a process either, and when there is
// space again the file goes on.
func TestLossOfFullDisk(t *testing.T) {
	dir := smallDisk(t)
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 60<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	p := testPump(t)
	x := testOpen(t, p, Config{Stdout: "file://" + dir + "/log", Backlog: Backlog{Bytes: chunkSize / 2, Loss: LossFull}})
	start(t, x)
	_, out, _ := x.Child()
	if err := lines(out, 0, 1<<20/16); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT, "size=4m"); err != nil {
		t.Fatal(err)
	}
	x.CloseChild()
	drain(t, x)
	f, err := os.Open(dir + "/log")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if missing := gapOf(t, f, 1<<20/16); missing == 0 || x.Lost().Stdout != uint64(missing)*16 {
		t.Errorf("lost: got %d, want %d", x.Lost().Stdout, missing*16)
	}
}
