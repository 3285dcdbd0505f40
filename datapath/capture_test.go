// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"foundry/datapath/veth"
)

// inside is an endpoint with a container's end in a namespace of its own.
type inside struct {
	Endpoint
	ns   *veth.NS
	path string
}

func newInside(t *testing.T, name, addr string, mac MAC) inside {
	t.Helper()
	ns, err := veth.NewNS()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	prefix := netip.MustParsePrefix(addr)
	p, err := veth.Create(veth.Config{Name: name, NS: ns, MAC: mac, Addrs: []netip.Prefix{prefix}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := veth.Delete(name); err != nil {
			t.Error(err)
		}
	})
	e := Endpoint{Ifindex: p.Ifindex, VNI: 100, MAC: mac, Addrs: []netip.Addr{prefix.Addr()}, MTU: 1500}
	return inside{e, ns, fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), ns.File().Fd())}
}

// say sends a datagram from the namespace.
func (e inside) say(t *testing.T, to, text string) {
	t.Helper()
	err := e.ns.Do(func() error {
		conn, err := net.Dial("udp", to)
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = conn.Write([]byte(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// awaitFrame reads frames until one is right.
func awaitFrame(t *testing.T, c *Capture, what string, right func(Frame) bool) Frame {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	for {
		f, err := c.Next(ctx)
		if err != nil {
			t.Fatalf("wait for %s: %v", what, err)
		}
		if right(f) {
			return f
		}
	}
}

// What one sends the other is redirected past the host's ends; both captures
// have it, the way it went, and the sender's also when it is dropped.
func TestCaptureSeesBothWays(t *testing.T) {
	d, _ := instance(t)
	a, b := newInside(t, "ca", "10.0.0.1/24", macA), newInside(t, "cb", "10.0.0.2/24", macB)
	set(t, d, State{Networks: []Network{{VNI: 100}}, Endpoints: []Endpoint{a.Endpoint, b.Endpoint}})
	open := func(e inside, snaplen int) *Capture {
		c, err := OpenCapture(e.path, e.Ifindex, snaplen)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	ca, cb := open(a, 0), open(b, 64)
	host := &Capture{buf: make([]byte, 64), oob: make([]byte, 256)} // what listens at b's host's end
	if err := host.open(b.Ifindex); err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	text := bytes.Repeat([]byte("hello "), 20)
	before := time.Now()
	a.say(t, "10.0.0.2:9", string(text))
	has := func(from bool) func(Frame) bool {
		return func(f Frame) bool { return f.From == from && f.Len == 14+20+8+len(text) }
	}
	sent := awaitFrame(t, ca, "what a sent", has(true))
	got := awaitFrame(t, cb, "what b got", has(false))
	if !bytes.HasSuffix(sent.Data, text) || len(sent.Data) != sent.Len || !bytes.Equal(sent.Data[:12], append(macB[:], macA[:]...)) {
		t.Errorf("sent: got %d bytes of %d: %x", len(sent.Data), sent.Len, sent.Data)
	}
	if len(got.Data) != 64 || !bytes.Equal(got.Data[:34], sent.Data[:34]) {
		t.Errorf("of what b got 64 bytes were asked for: got %d: %x", len(got.Data), got.Data)
	}
	if sent.Time.Before(before.Add(-time.Millisecond)) || got.Time.After(time.Now()) {
		t.Errorf("was at %v and %v, which is not between %v and now", sent.Time, got.Time, before)
	}
	// The answer of an endpoint without that port, and a frame that nobody gets.
	icmp := func(f Frame) bool { return f.Data[23] == 1 }
	awaitFrame(t, cb, "b's refusal", func(f Frame) bool { return f.From && icmp(f) })
	awaitFrame(t, ca, "b's refusal at a", func(f Frame) bool { return !f.From && icmp(f) })
	for f, ok := host.Waiting(); ok; f, ok = host.Waiting() {
		if bytes.Equal(f.Data[:6], macB[:]) {
			t.Errorf("the host's end sees what b is sent, as it did not before: %x", f.Data)
		}
	}
	if f, ok := ca.Waiting(); ok && f.Len == sent.Len {
		t.Errorf("a has its own frame twice")
	}
	if n := ca.Lost(); n != 0 {
		t.Errorf("lost %d", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := ca.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("after cancel: got %v", err)
	}
}

// Frames that nobody reads are counted, and cost no more than the buffer.
func TestCaptureCountsLoss(t *testing.T) {
	const sent = 20_000
	d, _ := instance(t)
	a, b := newInside(t, "ca", "10.0.0.1/24", macA), newInside(t, "cb", "10.0.0.2/24", macB)
	set(t, d, State{Networks: []Network{{VNI: 100}}, Endpoints: []Endpoint{a.Endpoint, b.Endpoint}})
	c, err := OpenCapture(b.path, b.Ifindex, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	err = a.ns.Do(func() error {
		conn, err := net.Dial("udp", "10.0.0.2:9")
		if err != nil {
			return err
		}
		defer conn.Close()
		for range sent {
			_, _ = conn.Write(make([]byte, 1400)) // refusals come back as errors
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	read := 0
	for f, ok := c.Waiting(); ok; f, ok = c.Waiting() {
		if f.Len > 1400 {
			read++
		}
	}
	if lost := int(c.Lost()); lost == 0 || read == 0 || read+lost < sent/2 || c.Lost() != 0 {
		t.Errorf("of %d frames read %d and lost %d", sent, read, lost)
	}
}

func TestCaptureOfNothing(t *testing.T) {
	instance(t)
	a := newInside(t, "ca", "10.0.0.1/24", macA)
	for what, try := range map[string]func() (*Capture, error){
		"no such device":    func() (*Capture, error) { return OpenCapture(a.path, 1<<20, 0) },
		"no such namespace": func() (*Capture, error) { return OpenCapture("/nonexistent", a.Ifindex, 0) },
		"no device there": func() (*Capture, error) {
			other, err := veth.NewNS()
			if err != nil {
				t.Fatal(err)
			}
			defer other.Close()
			return OpenCapture(fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), other.File().Fd()), a.Ifindex, 0)
		},
	} {
		if c, err := try(); err == nil {
			c.Close()
			t.Errorf("%s: got no error", what)
		} else {
			t.Logf("%s: %v", what, err)
		}
	}
}
