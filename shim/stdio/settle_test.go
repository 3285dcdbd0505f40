// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"context"
	"io"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A client that comes late still finds the output: Settle returns when it has
// read it, and not before.
func TestSettleWaitsForTheReader(t *testing.T) {
	p := testPump(t)
	path := fifo(t, "stdout")
	s, err := p.Open(t.Context(), Config{Stdout: path, ContainerID: "c"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_, out, _ := s.Child()
	if _, err := out.WriteString("hello"); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(nil); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	s.Settle(short)
	if short.Err() == nil {
		t.Error("settled although nobody has read")
	}
	settled := make(chan struct{})
	go func() {
		defer close(settled)
		s.Settle(t.Context())
	}()
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	reader := os.NewFile(uintptr(fd), path)
	defer reader.Close()
	got := make([]byte, 5)
	if _, err := io.ReadFull(reader, got); err != nil || string(got) != "hello" {
		t.Fatalf("read %q, %v, want %q", got, err, "hello")
	}
	<-settled
	if err := s.CloseChild(); err != nil {
		t.Fatal(err)
	}
	if err := s.Drain(t.Context()); err != nil {
		t.Error(err)
	}
}

// Nothing written, nothing to wait for; the same once it is closed.
func TestSettleAtOnce(t *testing.T) {
	p := testPump(t)
	for _, cfg := range []Config{{ContainerID: "null"}, {ContainerID: "quiet", Stdout: fifo(t, "stdout")}} {
		s, err := p.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Start(nil); err != nil {
			t.Fatal(err)
		}
		s.Settle(t.Context())
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		s.Settle(t.Context())
	}
}

// Output that nobody comes to read delays the news a little, not for long.
func TestSettleAlone(t *testing.T) {
	p := testPump(t)
	s, err := p.Open(t.Context(), Config{Stdout: fifo(t, "stdout"), ContainerID: "c"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_, out, _ := s.Child()
	if _, err := out.WriteString("hello"); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(nil); err != nil {
		t.Fatal(err)
	}
	if err := s.CloseChild(); err != nil {
		t.Fatal(err)
	}
	if err := s.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s.Settle(ctx)
	if ctx.Err() != nil {
		t.Error("waited for a client that never came")
	}
}
