// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// ended returns the streams of a process that wrote text to stdout, nothing to
// stderr, and has ended before its client has opened either.
func ended(t *testing.T, p *Pump, text string) (x *IO, paths [2]string) {
	t.Helper()
	paths = [2]string{fifo(t, "stdout"), fifo(t, "stderr")}
	x, err := p.Open(t.Context(), Config{Stdout: paths[0], Stderr: paths[1], ContainerID: "c"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.Close() })
	_, out, _ := x.Child()
	if _, err := out.WriteString(text); err != nil {
		t.Fatal(err)
	}
	if err := x.CloseChild(); err != nil {
		t.Fatal(err)
	}
	if err := x.Start(nil); err != nil {
		t.Fatal(err)
	}
	if err := x.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	return x, paths
}

// containerd's clients open their fifos in the background and wait for both to
// end. An open for reading that came after the process's end waited for ever.
func TestClientOpensAfterTheEnd(t *testing.T) {
	x, paths := ended(t, testPump(t), "hello")
	for i, want := range []string{"hello", ""} {
		fd, err := unix.Open(paths[i], unix.O_RDONLY|unix.O_CLOEXEC, 0) // waits for a writer
		if err != nil {
			t.Fatal(err)
		}
		client := os.NewFile(uintptr(fd), paths[i])
		got, err := io.ReadAll(client)
		if err != nil || string(got) != want {
			t.Errorf("%s: got %q, %v, want %q", paths[i], got, err, want)
		}
		client.Close()
	}
	eventually(t, "fifos closed", func() bool {
		x.mu.Lock()
		defer x.mu.Unlock()
		return len(x.partings) == 0
	})
}

// Close does not wait for a client that never comes, and leaves no writer.
func TestNobodyEverComes(t *testing.T) {
	x, paths := ended(t, testPump(t), "hello")
	x.mu.Lock()
	n := len(x.partings)
	x.mu.Unlock()
	if n != 2 {
		t.Errorf("waits for %d clients, want 2", n)
	}
	if err := x.Close(); err != nil {
		t.Error(err)
	}
	for _, path := range paths {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := unix.Read(fd, make([]byte, 1)); n != 0 || err != nil {
			t.Errorf("%s: read %d, %v: somebody has it open for writing", path, n, err)
		}
		unix.Close(fd)
	}
}
