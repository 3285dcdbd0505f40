// SPDX-License-Identifier: Apache-2.0

package net

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// perSecond is how many numbered datagrams a flow has in a second.
const perSecond = 10_000

// numbered is a flow of datagrams, each with the number after that of the one
// before. They come in order, unless a frame of XDP is sent to a pair on the
// way: the kernel chooses among its queues by the CPU that it is running on,
// and a sender may change it.
type numbered struct {
	what    string
	f       *fabric
	sink    net.PacketConn
	begin   time.Time
	stop    chan struct{}
	sent    chan uint64     // all that were
	got     atomic.Uint64   // the last that came
	missing map[uint64]bool // of those before it; receive's until it is done
	mixed   bool            // two queues may carry them
	done    chan error
}

// numbers starts a flow that goes on until it is ended.
func (c *container) numbers(to *container, ip netip.Addr) *numbered {
	f := c.h.f
	f.Helper()
	sink, err := in(to.ns, func() (net.PacketConn, error) { return net.ListenPacket("udp", netip.AddrPortFrom(ip, 0).String()) })
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { sink.Close() })
	if err := room(sink.(*net.UDPConn)); err != nil {
		f.Fatal(err)
	}
	source, err := in(c.ns, func() (net.Conn, error) { return net.Dial("udp", sink.LocalAddr().String()) })
	if err != nil {
		f.Fatal(err)
	}
	n := &numbered{what: fmt.Sprintf("datagrams %v -> %v by %v", c, to, ip), f: f, sink: sink, begin: time.Now(), stop: make(chan struct{}),
		sent: make(chan uint64, 1), done: make(chan error, 1), missing: map[uint64]bool{}, mixed: c.xdp || to.xdp}
	go n.receive()
	go n.send(source)
	return n
}

// room makes the buffer of a socket large: what waits in it is not lost, and
// whether this process gets to run is not what is tested.
func room(c *net.UDPConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	const size = 64 << 20
	var failed error
	err = raw.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, size) })
	return errors.Join(err, failed)
}

func (n *numbered) send(to net.Conn) {
	defer to.Close()
	var number uint64
	defer func() { n.sent <- number }()
	b := make([]byte, 200)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-n.stop:
			return
		case <-tick.C:
		}
		// Whoever could not run for a while makes up for it, but not all at once: queues are not what is tested.
		const most = 100
		due := uint64(time.Since(n.begin).Seconds() * perSecond)
		for range min(due-min(due, number), most) {
			number++
			binary.BigEndian.PutUint64(b, number)
			if _, err := to.Write(b); err != nil {
				n.f.Errorf("%s: %v", n.what, err)
				return
			}
		}
	}
}

// receive reads until the socket is closed, or one comes out of order or twice.
func (n *numbered) receive() {
	b := make([]byte, 256)
	for {
		_, _, err := n.sink.ReadFrom(b)
		if err != nil {
			n.done <- nil // closed
			return
		}
		number, last := binary.BigEndian.Uint64(b), n.got.Load()
		if number <= last && !(n.mixed && n.missing[number]) {
			n.done <- fmt.Errorf("%d came after %d", number, last)
			return
		}
		delete(n.missing, number)
		for ; last+1 < number; last++ {
			n.missing[last+1] = true
		}
		n.got.Store(max(number, n.got.Load()))
	}
}

// end wants all that were sent to have come, in order, but for those that a
// device's queue had no room for, which says so.
func (n *numbered) end() {
	n.f.Helper()
	close(n.stop)
	sent := <-n.sent
	n.f.Logf("%s: %d, %.0f a second", n.what, sent, float64(sent)/time.Since(n.begin).Seconds())
	n.f.eventually(fmt.Sprintf("%s: the last of %d has come", n.what, sent), func() bool { return n.got.Load() == sent || len(n.done) > 0 })
	n.sink.Close()
	if err := <-n.done; err != nil {
		n.f.Errorf("%s: %v", n.what, err)
	}
	if lost := uint64(len(n.missing)); lost > 0 {
		overflow := n.f.overflow()
		n.f.Logf("%s: %d lost; queues of devices had no room for %d", n.what, lost, overflow)
		if lost > overflow {
			n.f.Errorf("%s: %d were lost", n.what, lost)
		}
	}
}

// overflow is how many frames devices had no room for, which is when a machine
// is so busy that a receiver does not get to run. All else is counted elsewhere.
func (f *fabric) overflow() (n uint64) {
	f.Helper()
	for _, h := range f.hosts {
		for _, ns := range h.namespaces() {
			text, err := in(ns, func() ([]byte, error) { return os.ReadFile("/proc/thread-self/net/dev") })
			if err != nil {
				f.Fatal(err)
			}
			for line := range strings.Lines(string(text)) {
				if words := strings.Fields(line); strings.HasSuffix(words[0], ":") {
					drops, _ := strconv.ParseUint(words[4], 10, 64)
					n += drops
				}
			}
		}
	}
	return n
}

// river is a TCP stream that goes on until it is ended.
type river struct {
	what string
	f    *fabric
	stop chan struct{}
	want chan []byte
	got  chan []byte
	errs chan error
	n    atomic.Int64
}

func (c *container) river(to *container, ip netip.Addr) *river {
	f := c.h.f
	f.Helper()
	l, err := in(to.ns, func() (net.Listener, error) { return net.Listen("tcp", netip.AddrPortFrom(ip, 0).String()) })
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { l.Close() })
	conn, err := in(c.ns, func() (net.Conn, error) { return net.DialTimeout("tcp", l.Addr().String(), patience) })
	if err != nil {
		f.Fatal(err)
	}
	r := &river{what: fmt.Sprintf("stream %v -> %v by %v", c, to, ip), f: f, stop: make(chan struct{}),
		want: make(chan []byte, 1), got: make(chan []byte, 1), errs: make(chan error, 2)}
	go func() {
		digest, err := swallow(l)
		r.errs <- err
		r.got <- digest
	}()
	go func() {
		digest, err := r.flow(conn)
		r.errs <- err
		r.want <- digest
	}()
	return r
}

// flow writes no faster than leaves the machine to others.
func (r *river) flow(conn net.Conn) ([]byte, error) {
	defer conn.Close()
	h, b := sha256.New(), make([]byte, oneWrite)
	rand.NewChaCha8([32]byte{}).Read(b)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-r.stop:
			return h.Sum(nil), conn.(*net.TCPConn).CloseWrite()
		case <-tick.C:
		}
		binary.BigEndian.PutUint64(b, uint64(r.n.Add(oneWrite)))
		h.Write(b)
		if err := conn.SetWriteDeadline(time.Now().Add(patience)); err != nil {
			return nil, err
		}
		if _, err := conn.Write(b); err != nil {
			return nil, err
		}
	}
}

// end wants every byte to have come as it was sent.
func (r *river) end() {
	r.f.Helper()
	close(r.stop)
	if err := errors.Join(<-r.errs, <-r.errs); err != nil {
		r.f.Errorf("%s: after %d bytes: %v", r.what, r.n.Load(), err)
		return
	}
	if got, want := <-r.got, <-r.want; !bytes.Equal(got, want) {
		r.f.Errorf("%s: digest: got %x, want %x", r.what, got, want)
	}
	r.f.Logf("%s: %d MiB", r.what, r.n.Load()>>20)
}
