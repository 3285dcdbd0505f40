// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// wire is the container's end of a pair, to send from.
type wire struct {
	*testing.T
	fd   int
	addr *unix.SockaddrLinklayer
}

func newWire(t *testing.T, pair string) wire {
	t.Helper()
	for _, name := range []string{pair, pair + "p"} {
		if out, err := exec.Command("ip", "link", "set", name, "up").CombinedOutput(); err != nil {
			t.Fatalf("set %s up: %v\n%s", name, err, out)
		}
	}
	i, err := net.InterfaceByName(pair + "p")
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return wire{t, fd, &unix.SockaddrLinklayer{Ifindex: i.Index}}
}

// send sends a frame of a sender to a receiver.
func (w wire) send(from, to MAC) {
	w.Helper()
	frame := append(append(append([]byte{}, to[:]...), from[:]...), 0x88, 0xb5)
	if err := unix.Sendto(w.fd, append(frame, make([]byte, 50)...), 0, w.addr); err != nil {
		w.Fatal(err)
	}
}

func next(t *testing.T, r *Drops) (Drop, uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	d, lost, err := r.Next(ctx)
	if err != nil {
		t.Fatalf("wait for a drop: %v", err)
	}
	return d, lost
}

// A reader sees what is dropped from its making on, whoever else reads.

func TestDrops(t *testing.T) {
	d, _ := instance(t)
	s := on(t)
	set(t, d, s)
	w := newWire(t, "pa")
	a := s.Endpoints[0]
	w.send(MAC{2, 9}, a.MAC) // before anybody reads

	first, err := d.Drops()
	if err != nil {
		t.Fatal(err)
	}
	second, err := d.Drops()
	if err != nil {
		t.Fatal(err)
	}
	before := time.Now()
	w.send(a.MAC, MAC{2, 8})
	for name, r := range map[string]*Drops{"first": first, "second": second} {
		drop, lost := next(t, r)
		for drop.Reason == "spoof_mac" { // the kernel's own words on a device that has come up
			drop, lost = next(t, r)
		}
		if drop.Reason != "ethertype" || drop.Ifindex != a.Ifindex || drop.VNI != a.VNI || drop.Endpoint != uint32(a.Ifindex) ||
			drop.Len != 64 || len(drop.Head) != 64 || MAC(drop.Head) != (MAC{2, 8}) || lost != 0 {
			t.Errorf("%s: got %+v, lost %d", name, drop, lost)
		}
		if drop.Time.Before(before.Add(-time.Millisecond)) || drop.Time.After(time.Now()) {
			t.Errorf("%s: was at %v, which is not between %v and now", name, drop.Time, before)
		}
	}
	first.Close()
	first.Close()
	if _, _, err := first.Next(t.Context()); !errors.Is(err, os.ErrClosed) {
		t.Errorf("after close: got %v", err)
	}
	w.send(a.MAC, MAC{2, 8})
	next(t, second)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := second.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("after cancel: got %v", err)
	}
	second.Close()
	third, err := d.Drops() // the ring is opened again
	if err != nil {
		t.Fatal(err)
	}
	d.Close()
	if _, _, err := third.Next(t.Context()); !errors.Is(err, os.ErrClosed) {
		t.Errorf("after the data plane is closed: got %v", err)
	}
}

// A reader that does not read is told how much it has missed, and stops nobody.
func TestSlowReaderOfDrops(t *testing.T) {
	r := &Drops{queue: make(chan Drop, queuedDrops)}
	for range queuedDrops + 7 {
		r.put(Drop{Reason: "fdb_miss"})
	}
	if _, lost := next(t, r); lost != 7 {
		t.Errorf("got %d lost, want 7", lost)
	}
	if _, lost := next(t, r); lost != 0 {
		t.Errorf("the same are told of twice: %d", lost)
	}
}

// Every reason is in the operator's table, and nothing else is.
func TestReasonsAreExplained(t *testing.T) {
	page, err := os.ReadFile("../docs/network.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "### Reasons")
	table, _, _ = strings.Cut(table, "\n## ")
	explained := map[string]bool{}
	for line := range strings.Lines(table) {
		first, _, _ := strings.Cut(strings.TrimPrefix(line, "|"), "|")
		for i, word := range strings.Split(first, "`") {
			if i%2 == 1 {
				explained[word] = true
			}
		}
	}
	known, err := readNames()
	if err != nil {
		t.Fatal(err)
	}
	for _, reason := range known.Reasons {
		if !explained[reason] && reason != "count" {
			t.Errorf("docs/network.md does not say what %s is", reason)
		}
		delete(explained, reason)
	}
	if len(explained) > 0 {
		t.Errorf("docs/network.md explains what there is not: %v", explained)
	}
}
