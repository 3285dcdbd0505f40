// SPDX-License-Identifier: Apache-2.0

package veth

import (
	"context"
	"net/netip"
	"testing"
	"time"
)

// story watches a namespace. Its next method returns the first event that is
// like the one wanted.
type story struct {
	*testing.T
	events chan Event
}

func watch(t *testing.T, ns *NS) story {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s := story{t, make(chan Event, 1000)}
	done := make(chan error)
	go func() {
		done <- ns.Do(func() error { return Watch(ctx, func(e Event) { s.events <- e }) })
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	if e := <-s.events; e.Kind != Resync {
		t.Fatalf("first event: got %+v", e)
	}
	return s
}

func (s story) next(kind Kind, what string, like func(Event) bool) Event {
	s.Helper()
	limit := time.After(20 * time.Second)
	for {
		select {
		case e := <-s.events:
			if e.Kind == kind && like(e) {
				return e
			}
		case <-limit:
			s.Fatalf("%s: no such event", what)
		}
	}
}

func TestWatch(t *testing.T) {
	near, far, mac := hosts(t)
	s := watch(t, near)
	up0 := func(e Event) bool { return e.Name == "up0" }
	run(t, near, "ip link set up0 mtu 1400")
	s.next(LinkChanged, "MTU", func(e Event) bool { return up0(e) && e.MTU == 1400 && e.Up })
	run(t, near, "ip addr add 192.0.2.77/24 dev up0")
	s.next(AddrAdded, "address", func(e Event) bool { return e.IP == netip.MustParseAddr("192.0.2.77") })
	run(t, near, "ip addr del 192.0.2.77/24 dev up0")
	s.next(AddrGone, "address", func(e Event) bool { return e.IP == netip.MustParseAddr("192.0.2.77") })
	run(t, near, "ip addr add 2001:db8::77/64 dev up0 nodad")
	s.next(AddrAdded, "IPv6 address", func(e Event) bool { return e.IP == netip.MustParseAddr("2001:db8::77") })
	peer := netip.MustParseAddr("192.0.2.2")
	if _, err := resolveIn(t, near, peer.String()); err != nil {
		t.Fatal(err)
	}
	s.next(NeighChanged, "answer", func(e Event) bool { return e.IP == peer && e.MAC == mac })
	// The peer's card is exchanged, and tells so.
	run(t, far, "ip link set down0 address 02:00:00:00:09:0a")
	run(t, far, "busybox arping -A -c 1 -I down0 192.0.2.2")
	s.next(NeighChanged, "another MAC", func(e Event) bool { return e.IP == peer && e.MAC == [6]byte{2, 0, 0, 0, 9, 0xa} })
	run(t, near, "ip neigh del 192.0.2.2 dev up0")
	s.next(NeighFailed, "neighbour gone", func(e Event) bool { return e.IP == peer })
	run(t, near, "ip link set up0 down")
	s.next(LinkChanged, "down", func(e Event) bool { return up0(e) && !e.Up })
	run(t, near, "ip link set up0 name up1")
	s.next(LinkChanged, "new name", func(e Event) bool { return e.Name == "up1" })
	run(t, far, "ip link del down0")
	s.next(LinkGone, "gone", func(e Event) bool { return e.Name == "up1" })
}

// Who is too slow to hear all is told that he has missed something.
func TestWatchOverrun(t *testing.T) {
	ns := newNS(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	begun, slow := make(chan struct{}), make(chan struct{})
	resyncs := 0
	done := make(chan error)
	go func() {
		done <- ns.Do(func() error {
			return Watch(ctx, func(e Event) {
				if e.Kind != Resync {
					return
				}
				if resyncs++; resyncs == 1 {
					close(begun)
					<-slow
				} else {
					cancel()
				}
			})
		})
	}()
	<-begun
	err := ns.Do(func() error {
		h, err := dial(nil)
		if err != nil {
			return err
		}
		defer h.Close()
		lo, err := h.LinkByName("lo")
		for i := 0; i < 2000 && err == nil; i++ { // of more than a kilobyte each
			err = h.LinkSetMTU(lo, 60000+i%2)
		}
		return err
	})
	close(slow)
	if err != nil {
		t.Error(err)
		cancel()
	}
	if err := <-done; err != nil || resyncs != 2 {
		t.Errorf("got %v after %d resyncs", err, resyncs)
	}
}

// Watch leaves neither goroutine nor descriptor.
func TestWatchEnds(t *testing.T) {
	ns := newNS(t)
	before := held(t)
	for range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		if err := ns.Do(func() error { return Watch(ctx, func(Event) { cancel() }) }); err != nil {
			t.Error(err)
		}
	}
	before.leftNothing(t)
}
